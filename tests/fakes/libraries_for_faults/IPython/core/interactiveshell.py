"""Stands for the shell, which shows the errors of cells by itself."""

import sys

from IPython.core import ultratb


class InteractiveShell:
    """Runs cells and prints their errors."""

    def _get_exc_info(self):
        return sys.exc_info()

    def run_cell(self, code):
        """Run a cell."""
        try:
            exec(code, {"__name__": "__main__"})  # noqa: S102
        except Exception:
            kind, error, trace = self._get_exc_info()
            lines = ultratb.AutoFormattedTB().structured_traceback(kind, error, trace)
            print("\n".join(lines), file=sys.stderr)
