"""The small comparisons with which `signatures.toml` decides between causes of one text.

A condition is ``subject operator value``: ``device >= 12.0``, ``vendor == amd``, ``limit in 49152 65536``,
``archs covers device``, ``device is unknown``. What is not known makes every comparison false, also ``!=``; only ``is``
asks for that.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FAMILIES", "SUBJECTS", "Condition", "Value", "capability_number", "parse_condition"]

#: A version or capability as numbers, a word, or a list of capabilities.
Value: TypeAlias = "tuple[int, ...] | str | tuple[tuple[int, ...], ...]"

#: What can be asked for, and where it comes from.
SUBJECTS: Final = {
    "device": "the capability of the GPU in question",
    "vendor": "who made it",
    "system": "linux, wsl, windows, macos",
    "torch": "the version of torch",
    "variant": "what torch was built for, such as cu128",
    "toolkit": "the version of nvcc",
    "python": "the version of Python",
    "arch": "the group `arch` of the pattern: 120, 120a and 12.0 are all 12.0",
    "printed": "the group `device`: the capability that the text gives to its GPU",
    "archs": "the group `archs`: a list of architectures; `archs.min` and `archs.max`",
    "low": "the group `low`, or `family` as a number: the smallest capability that is accepted",
    "high": "the group `high`: the largest capability that is accepted",
    "limit": "the group `limit`: bytes",
    "required": "the group `required`: bytes",
}

#: The first capability of each family of GPUs that a text may name instead.
FAMILIES: Final = {"volta": (7, 0), "turing": (7, 5), "ampere": (8, 0), "ada": (8, 9), "hopper": (9, 0)}

_CONDITION: Final = re.compile(r"([a-z.]+) (==|!=|<=|>=|<|>|in|covers|is) (.+)")
_ARCH: Final = re.compile(r"(\d{1,2})\.(\d)|(\d{2,4})[af]?")
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison."""

    subject: str
    relation: str
    value: str

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Tell whether it holds for what is known, by the names of `SUBJECTS`."""
        known = _look_up(self.subject, values)
        if self.relation == "is":
            return (known is None) == (self.value == "unknown")
        if known is None:
            return False
        if self.relation == "in":
            return any(_compare("==", known, _literal(word)) for word in self.value.split())
        other = _look_up(self.value, values) if self.value.partition(".")[0] in SUBJECTS else _literal(self.value)
        if other is None:
            return False
        if self.relation == "covers":
            return _covers(known, other)
        return _compare(self.relation, known, other)


def parse_condition(text: str) -> Condition:
    """Read one condition.

    Raises:
        ValueError: it is none, or asks for something that nobody tells.

    """
    match = _CONDITION.fullmatch(text)
    if match is None or match[1].partition(".")[0] not in SUBJECTS:
        raise ValueError(f"{text!r} is no condition")
    if match[2] == "is" and match[3] not in {"known", "unknown"}:
        raise ValueError(f"{text!r}: something is known or unknown")
    return Condition(*match.groups())


def capability_number(text: str) -> tuple[int, int] | None:
    """Read an architecture as programs write it: ``120``, ``120a``, ``12.0``, and ggml's ``1200`` are all 12.0."""
    match = _ARCH.fullmatch(text.strip())
    if match is None:
        return None
    if match[1]:
        return int(match[1]), int(match[2])
    digits = match[3]
    if len(digits) == 4 or (len(digits) == 3 and digits.endswith("0") and digits[0] in "56789"):  # noqa: PLR2004 - ggml writes major * 100 + minor * 10
        digits = digits[:-1]
    return int(digits[:-1]), int(digits[-1])


def _look_up(name: str, values: Mapping[str, Value]) -> Value | None:
    base, _, part = name.partition(".")
    known = values.get(base)
    if not part or known is None:
        return known
    if isinstance(known, str):
        return None
    chosen: Any = min(known) if part == "min" else max(known)
    return chosen if isinstance(chosen, tuple) else None


def _literal(word: str) -> Value:
    return tuple(map(int, word.split("."))) if re.fullmatch(r"\d+(?:\.\d+)*", word) else word


def _compare(relation: str, left: Value, right: Value) -> bool:
    if isinstance(left, str) != isinstance(right, str):
        return False
    return _COMPARISONS[relation](left, right)


def _covers(archs: Value, device: Value) -> bool:
    """Tell whether machine code for one of the architectures runs on a device: same major, no larger minor."""
    return any(
        isinstance(arch, tuple) and arch[:1] == device[:1] and arch[1:] <= device[1:]  # type: ignore[operator]
        for arch in archs
    )
