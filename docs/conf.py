"""How Sphinx builds these pages: `sphinx-build -W -n -b html docs docs/_build/html`, without network."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent / "src")]

from rtx50_autoload import __version__  # noqa: E402 - found through the line above

project = "rtx50-autoload"
author = "the rtx50-autoload contributors"
version = release = __version__

extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"),
    *("rtx50_commands", "rtx50_measured", "rtx50_tables"),
]
# What is recorded is included by the pages.
exclude_patterns = ["_build", "recorded"]
# Docstrings of the package put code in single backticks.
default_role = "code"

myst_enable_extensions = ["colon_fence", "deflist", "smartquotes"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# The inventories that resolve these names would have to be fetched.
nitpick_ignore_regex = [
    ("py:class", r"(collections\.abc\.)?(Iterable|Iterator|Mapping)"),
    ("py:class", r"(rtx50_autoload\.capability\.)?Capability|Path|pathlib\.Path|(typing\.)?Any"),
]

html_theme = "furo"
html_title = f"rtx50-autoload {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
