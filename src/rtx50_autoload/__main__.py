"""`python -m rtx50_autoload`: the command line, with the interpreter that runs it."""

import sys

from rtx50_autoload.cli.main import main

sys.exit(main())
