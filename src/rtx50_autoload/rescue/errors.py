"""What a stand-in raises instead of an approximation."""

from __future__ import annotations

from rtx50_autoload.errors import RTX50Error

__all__ = ["CannotRender"]


class CannotRender(RTX50Error):  # noqa: N818 - a refusal, named as the callers read it: `except CannotRender`
    """A call cannot be answered exactly, so that its original error stands."""

    #: Why, in one sentence.
    reason: str

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
