"""Makes the import hook watch every module, so that CPython's own tests judge it. A start-up file of the tests only.

It names itself as the handler, which does nothing.
"""

import _rtx50_autoload_importlib_bootstrap as hook

# Its own import cannot go through the hook, which loads it for every import.
import _rtx50_autoload_importlib_bootstrap_watching  # noqa: F401


class Everything:
    """Contains every name."""

    def __contains__(self, name):
        return True


def module_loaded(module):
    """Hear of a module that has run."""
    if module.__name__ == "_wrap_everything_probe":
        # What shows `suites.py` that modules are watched and told of.
        module.told = True


def module_failed(module, error):
    """Hear of a module that has failed."""


def torch_ready():
    """Hear from torch."""


hook.watched, hook.handler = Everything(), __name__
