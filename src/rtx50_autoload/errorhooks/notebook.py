"""IPython and Jupyter, which show errors by themselves and never ask `sys.excepthook`.

Every traceback passes `InteractiveShell._get_exc_info` (IPython 7 to 9). Older versions write no notes (8.12 does not,
8.31 does), so the lines that `AutoFormattedTB` gives, which the terminal prints and the kernel sends to the notebook,
get ours where it is missing. `set_custom_exc`, the documented way, holds one handler and would take the place of
somebody else's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import _rtx50_autoload_importlib_bootstrap as hook
from rtx50_autoload.masquerading.patch import AttributePatch

from . import note
from .links import linked

if TYPE_CHECKING:
    from types import ModuleType

    from .attendant import Attendant

__all__ = ["notebook_patches"]


def notebook_patches(attendant: Attendant, interactiveshell: ModuleType) -> list[AttributePatch]:
    """Give the changes that bring errors of cells to `attendant`, and its notes into their tracebacks."""
    shell: Any = interactiveshell.InteractiveShell
    formatter: Any = interactiveshell.ultratb.AutoFormattedTB
    get, format_ = shell._get_exc_info, formatter.structured_traceback  # noqa: SLF001 - where all ways meet

    def _get_exc_info(self: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        found = get(self, *arguments, **options)
        try:
            attendant.attend(found[1])
        except Exception as fault:  # noqa: BLE001 - the traceback is to be seen
            hook.record(fault)
        return found

    def structured_traceback(self: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        lines = format_(self, *arguments, **options)
        # The second argument; its name is another one in each major version.
        try:
            error = next((value for value in (*arguments, *options.values()) if isinstance(value, BaseException)), None)
            return _with_notes(lines, error) if isinstance(lines, list) and error is not None else lines
        except Exception as fault:  # noqa: BLE001 - the traceback is to be seen
            hook.record(fault)
            return lines

    return [
        AttributePatch("IPython.InteractiveShell._get_exc_info", shell, "_get_exc_info", _get_exc_info),
        AttributePatch(
            "IPython.AutoFormattedTB.structured_traceback", formatter, "structured_traceback", structured_traceback
        ),
    ]


def _with_notes(lines: list[Any], error: BaseException) -> list[Any]:
    """Add the notes of an error, and of those that older versions do not show at all, where they are missing."""
    notes = {note.our_note(one): None for one in linked(error)}
    shown = "\n".join(map(str, lines))
    return [*lines, *(ours for ours in notes if ours is not None and ours not in shown)]
