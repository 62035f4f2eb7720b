"""Errors that come from another process: it has recorded them, and may have put a note on them, before this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["brings_errors", "is_relayed"]

#: Packages that make an error anew which another process has sent.
_CARRIERS: Final = frozenset(
    {"multiprocessing", "pickle", "cloudpickle", "dill", "joblib", "loky", "distributed", "ray"}
)

#: What stands beside such an error, or in its place, by the beginning of its class's name: of `multiprocessing`,
#: `concurrent.futures` and loky, of torch.multiprocessing, of Ray.
_TYPES: Final = ("RemoteTraceback", "_RemoteTraceback", "ProcessRaisedException", "RayTaskError")

#: What stands in the text of such an error: torch's data loader.
_TEXTS: Final = ("in DataLoader worker process",)

#: Where it stands there.
_LENGTH: Final = 300


def brings_errors(module: str | None) -> bool:
    """Tell whether code of this module that makes an error has been sent it."""
    return module is not None and module.partition(".")[0] in _CARRIERS


def is_relayed(errors: Iterable[BaseException]) -> bool:
    """Tell whether one of these errors, which belong together, shows that they come from another process."""
    return any(
        type(error).__name__.startswith(_TYPES) or any(text in str(error)[:_LENGTH] for text in _TEXTS)
        for error in errors
    )
