"""What can go wrong when an assistant is asked, each with a sentence for a beginner and the next step."""

from __future__ import annotations

from rtx50_autoload.errors import RTX50Error, UsageError

__all__ = [
    "AssistantError",
    "CrashedError",
    "EmptyAnswerError",
    "GarbledAnswerError",
    "NotFoundError",
    "NotLoggedInError",
    "PromptTooLongError",
    "RateLimitedError",
    "RefusedError",
    "TimedOutError",
    "TooOldError",
    "UnknownAssistantError",
    "UnreachableError",
]


class AssistantError(RTX50Error):
    """An assistant gave no answer."""

    #: What happened, as a sentence.
    reason: str
    #: What to do about it, as a sentence.
    next: str
    #: The last that the assistant itself said of it, without control characters; empty where it said nothing.
    details: str

    def __init__(self, reason: str, next: str, details: str = "") -> None:  # noqa: A002 - as in `Finding`
        super().__init__(reason, next, details)
        self.reason = reason
        self.next = next
        self.details = details

    def __str__(self) -> str:
        return f"{self.reason} {self.next}"


class UnknownAssistantError(AssistantError, UsageError):
    """The setting names an assistant that we do not know."""


class NotFoundError(AssistantError):
    """The assistant is not on this machine, or what has its name is no program."""


class TooOldError(AssistantError):
    """A version that cannot be kept from acting on the machine; it was not asked."""


class NotLoggedInError(AssistantError):
    """The assistant has no login, or one that its server does not take."""


class RefusedError(AssistantError):
    """The assistant's server knows the login and does not allow the question."""


class UnreachableError(AssistantError):
    """The assistant's server cannot be reached, or something else answers in its place."""


class RateLimitedError(AssistantError):
    """The assistant's server takes no more questions for now."""


class TimedOutError(AssistantError, TimeoutError):
    """There was no answer within the time limit; the assistant was ended with all that it had started."""

    def __str__(self) -> str:
        return AssistantError.__str__(self)


class PromptTooLongError(AssistantError, ValueError):
    """The question is longer than assistants take."""


class EmptyAnswerError(AssistantError):
    """The assistant ended as if all were well, and said nothing."""


class GarbledAnswerError(AssistantError):
    """What came back is not in the form that the assistant was asked for, or has no end."""


class CrashedError(AssistantError):
    """The assistant could not be started, or ended with an error that we do not know."""
