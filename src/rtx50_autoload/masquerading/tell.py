"""What the patched functions of torch run: find the caller, look up what it is told.

This is the hot path. torch's own `get_device_capability(0)` takes about a microsecond, most of it in reading two
properties through pybind11; keeping the true capability of each properties object pays for looking at the caller.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from rtx50_autoload.capability import Capability

__all__ = ["BlockRule", "Teller", "block_rule"]

#: Gives the answer for a caller's module name and a true capability; None for the truth.
BlockRule: TypeAlias = "Callable[[str | None, Capability], Capability | None]"

#: Set by the context managers `truth()` and `masquerade()`: answers before the policy does, in this context only.
block_rule: ContextVar[BlockRule | None] = ContextVar("rtx50_autoload_block_rule", default=None)

# Callers and properties objects are few; a program that makes them up without end is answered without being remembered.
_MOST_REMEMBERED = 4096


class Teller:
    """Answers for one `torch.cuda`.

    Args:
        decide: gives the answer for a caller's module name and a true capability; slow, asked once for each pair.
        read: give the true major and minor number of a properties object.
        fault: is handed what goes wrong here; the caller then gets the truth.

    """

    __slots__ = ("answers", "decide", "fault", "known", "read")

    def __init__(
        self,
        decide: Callable[[str | None, Capability], Capability],
        read: tuple[Callable[[Any], int], Callable[[Any], int]],
        fault: Callable[[Exception], None],
    ) -> None:
        self.decide = decide
        self.read = read
        self.fault = fault
        #: By capability, then by caller: a lookup by a name is faster than by a name and a capability.
        self.answers: dict[Capability, dict[str | None, Capability]] = {}
        #: By properties object: what it truly is, and the answers for that.
        self.known: dict[Any, tuple[Capability, dict[str | None, Capability]]] = {}

    def told(self, properties: Any) -> Capability:  # noqa: ANN401 - torch's type is not known here
        """Answer `get_device_capability`, which calls this; its own caller is two frames up."""
        try:
            return self._answer(properties, sys._getframe(2))
        except Exception as error:  # noqa: BLE001 - the caller gets torch's own answer
            self.fault(error)
            return self._truth(properties)

    def property_of(self, index: int) -> property:
        """Make the property `major` (0) or `minor` (1); who reads it is one frame up."""
        truth = self.read[index]

        def read(properties: Any) -> int:  # noqa: ANN401
            try:
                return self._answer(properties, sys._getframe(1))[index]
            except Exception as error:  # noqa: BLE001 - likewise
                self.fault(error)
                known = self.known.get(properties)
                return truth(properties) if known is None else known[0][index]

        return property(read)

    def _answer(self, properties: Any, frame: FrameType) -> Capability:  # noqa: ANN401
        capability, answers = self.known.get(properties) or self._read(properties)
        caller = frame.f_globals.get("__name__")
        if caller == "torch.cuda" and frame.f_code.co_name == "get_device_capability" and frame.f_back:
            # torch's own function was already running when it was patched: its caller is who asks.
            caller = frame.f_back.f_globals.get("__name__")
        rule = block_rule.get()
        if rule is not None:
            return rule(caller, capability) or capability
        return answers.get(caller) or self._decide(caller, capability, answers)

    def remember(self, properties: Any, capability: Capability) -> tuple[Capability, dict[str | None, Capability]]:  # noqa: ANN401
        """Take a capability for the true one of a properties object."""
        known = capability, self.answers.setdefault(capability, {})
        if len(self.known) < _MOST_REMEMBERED:
            self.known[properties] = known
        return known

    def _truth(self, properties: Any) -> Capability:  # noqa: ANN401
        known = self.known.get(properties)
        return (self.read[0](properties), self.read[1](properties)) if known is None else known[0]

    def _read(self, properties: Any) -> tuple[Capability, dict[str | None, Capability]]:  # noqa: ANN401
        return self.remember(properties, (self.read[0](properties), self.read[1](properties)))

    def _decide(self, caller: str | None, capability: Capability, answers: dict[str | None, Capability]) -> Capability:
        answer = self.decide(caller, capability)
        if len(answers) < _MOST_REMEMBERED:
            answers[caller] = answer
        return answer
