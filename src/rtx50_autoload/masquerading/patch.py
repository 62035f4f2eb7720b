"""How an object of torch is changed in place and brought back to exactly what it was.

Two ways, chosen because `torch.compile` keeps working through both, early, late and after the way back (run with torch
2.7.1, 2.13.0 and 2.15.0): another `__code__` for a function, which keeps the function's identity and so reaches
references bound before; and another attribute of a class. Wrappers and proxy objects break one or the other.

Every `import torch` waits for this module. Its classes are written out because each data class takes longer to make
than all of them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FunctionType, ModuleType
    from typing import Literal, Protocol

    class Patch(Protocol):
        """A change that can be made and taken back."""

        target: str

        def apply(self) -> None:
            """Make the change."""

        def restore(self) -> bool:
            """Take it back; False where somebody changed the object after us, and it is left alone."""


__all__ = ["AttributePatch", "CodePatch", "PatchSet"]

_MISSING = object()


class CodePatch:
    """Let a function run other code.

    The new code runs with the patched function's globals. What it needs of ours is put there under `names`, which the
    code has to do without for the moment in which a concurrent `restore` takes them away.

    Args:
        target: the function's dotted name, for reports.
        module: where the function was defined.
        function: what stands under its name there now.
        template: its code is lent.
        names: globals to lend, by names that the module does not have.

    """

    __slots__ = ("function", "module", "names", "original", "target", "template")

    def __init__(
        self,
        target: str,
        module: ModuleType,
        function: FunctionType,
        template: Callable[..., Any],
        names: dict[str, Any],
    ) -> None:
        self.target = target
        self.module = module
        self.function = function
        self.template = template
        self.names = names
        self.original: CodeType | None = None

    def apply(self) -> None:
        """Lend the code.

        Raises:
            TypeError: the function is not the module's own, but somebody's replacement.

        """
        if getattr(self.function, "__globals__", None) is not vars(self.module):
            raise TypeError(f"it has been replaced by {self.function!r}")
        original = self.function.__code__
        self.function.__globals__.update(self.names)
        self.function.__code__ = self.template.__code__
        self.original = original

    def restore(self) -> bool:
        """Give the function its own code back."""
        if self.function.__code__ is not self.template.__code__ or self.original is None:
            return False
        self.function.__code__ = self.original
        for name in self.names:
            self.function.__globals__.pop(name, None)
        return True


class AttributePatch:
    """Put another object in the place of an attribute of a class or a module."""

    __slots__ = ("name", "original", "owner", "replacement", "target")

    def __init__(self, target: str, owner: Any, name: str, replacement: Any) -> None:  # noqa: ANN401 - anything
        self.target = target
        self.owner = owner
        self.name = name
        self.replacement = replacement
        self.original: Any = _MISSING

    def apply(self) -> None:
        """Put the replacement there."""
        self.original = vars(self.owner).get(self.name, _MISSING)
        setattr(self.owner, self.name, self.replacement)

    def restore(self) -> bool:
        """Put the original back, or nothing where there was nothing."""
        if vars(self.owner).get(self.name, _MISSING) is not self.replacement:
            return False
        if self.original is _MISSING:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.original)
        return True


class _Entry:
    __slots__ = ("error", "patch", "state")

    def __init__(self, patch: Patch, state: Literal["applied", "failed", "kept"], error: str | None = None) -> None:
        self.patch = patch
        self.state = state
        self.error = error


class PatchSet:
    """The changes made so far, in order."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: list[_Entry] = []

    def apply(self, patch: Patch) -> None:
        """Make one change; a failure is kept for `report`, and the other changes stand."""
        try:
            patch.apply()
        except Exception as error:  # noqa: BLE001 - a torch that we do not know must go on without us
            self.entries.append(_Entry(patch, "failed", f"{type(error).__name__}: {error}"))
        else:
            self.entries.append(_Entry(patch, "applied"))

    def restore(self) -> None:
        """Take all changes back, the last one first."""
        remaining = []
        for entry in reversed(self.entries):
            if entry.state != "applied":
                continue
            try:
                error = None if entry.patch.restore() else "changed by somebody else after us"
            except Exception as fault:  # noqa: BLE001 - the other changes are to be taken back all the same
                error = f"{type(fault).__name__}: {fault}"
            if error is not None:
                entry.state, entry.error = "kept", error
                remaining.append(entry)
        self.entries[:] = remaining

    def __bool__(self) -> bool:
        return any(entry.state == "applied" for entry in self.entries)

    def report(self) -> list[dict[str, str | None]]:
        """Give each change's target, state and error."""
        return [{"target": entry.patch.target, "state": entry.state, "error": entry.error} for entry in self.entries]
