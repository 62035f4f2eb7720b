"""Measure how the time that the package's regular expressions take grows with the text.

    python tests/fuzz/regexes.py [PART]

For each open-ended or long repetition of each pattern, texts are made that repeat what it repeats, and that repeat what
leads to it, with an end that does not match. Prints those for which twice the text takes more than three times as long;
exits with 1 where one of them is searched in texts of any length. A part of modules' names leaves out the others. Not a
test: it measures time.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    parser = importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")

#: Characters of the shortest text; the next ones are twice and four times as long.
_LENGTH = 2000
#: Seconds that the longest text has to take before its growth says anything.
_WORTH = 0.005
_GROWTH = 3.0
_LONG = 16
#: What is searched in texts of a bounded length only, and why.
_BOUNDED = {
    "scripts.danger": "lines of a script are looked at as far as 1,000 characters",
    "scripts.unknown": "likewise",
    "diagnosis.case": "what a signature took from a text, of 300 characters at most",
    "diagnosis.conditions": "our own file",
    "diagnosis.incident": "headlines of 240 characters at most",
    "evidence.visibility": "it is matched at one place only",
    "masquerading.package_profiles": "values of entry points, matched whole",
    "troubleshooter.programs": "names of folders, matched whole",
    "diagnosis.described": "texts of 1,000 characters at most",
}
_SKIPPED = (
    "__main__",
    "probe_child",
    "demo_child",
    "rescue",
    "mcp_server.server",
    "mcp_server.ask",
    "check_child",
)


def patterns() -> dict[tuple[str, int], str]:
    """Give every pattern that the package compiles, with its flags and the module that has compiled it."""
    found: dict[tuple[str, int], str] = {}
    compile_ = re.compile

    def note(pattern: Any, flags: Any = 0) -> re.Pattern[str]:
        frame = sys._getframe(1)
        while frame.f_back and frame.f_code.co_name in {"<genexpr>", "<listcomp>", "compiled"}:
            frame = frame.f_back
        module = frame.f_globals.get("__name__", "")
        compiled = compile_(pattern, flags)
        if module.startswith("rtx50_autoload") and isinstance(compiled.pattern, str):
            found.setdefault((compiled.pattern, compiled.flags), module.removeprefix("rtx50_autoload."))
        return compiled

    for name in [name for name in sys.modules if name.startswith("rtx50_autoload")]:
        del sys.modules[name]
    re.compile = note  # type: ignore[assignment]
    try:
        import rtx50_autoload  # noqa: PLC0415 - what it compiles is noted

        for module in pkgutil.walk_packages(rtx50_autoload.__path__, "rtx50_autoload."):
            if not any(part in module.name for part in _SKIPPED):
                importlib.import_module(module.name)
        loaders = {
            "diagnosis.signatures": "load_signatures",
            "diagnosis.gpu_names": "load_gpu_names",
            "troubleshooter.redaction.rules": "load_rules",
            "troubleshooter.scripts.danger": "load_danger_rules",
        }
        for module_name, function in loaders.items():
            getattr(importlib.import_module(f"rtx50_autoload.{module_name}"), function)()
    finally:
        re.compile = compile_
    return found


def sample(tokens: Any) -> str:
    """Write a text that a part of a pattern is likely to match."""
    return "".join(_one(str(operation), value) for operation, value in tokens)


def _one(operation: str, value: Any) -> str:  # noqa: PLR0911 - one for each operation
    match operation:
        case "LITERAL":
            return chr(value)
        case "NOT_LITERAL" | "ANY":
            return "a"
        case "IN":
            return _member(value)
        case "BRANCH":
            return sample(value[1][0])
        case "SUBPATTERN":
            return sample(value[-1])
        case "ATOMIC_GROUP":
            return sample(value)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return sample(value[2]) * max(value[0], min(1, value[1]))
        case _:
            return ""


def _member(members: Any) -> str:
    negated = str(members[0][0]) == "NEGATE"
    for character in "a0 A-._/:\\'\"\n@=":
        if any(_holds(str(operation), value, character) for operation, value in members) is not negated:
            return character
    return "\u00e9"


def _holds(operation: str, value: Any, character: str) -> bool:
    if operation == "LITERAL":
        return chr(value) == character
    if operation == "RANGE":
        return value[0] <= ord(character) <= value[1]
    if operation == "CATEGORY":
        kind = str(value).rpartition("_")[2].lower()
        letter = {"digit": r"\d", "space": r"\s", "word": r"\w"}[kind]
        return bool(re.match(letter, character)) is not ("NOT" in str(value))
    return False


def attacks(tokens: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Give pairs of a beginning and what to repeat behind it."""
    for operation, value in tokens:
        name = str(operation)
        if name.endswith("_REPEAT"):
            _least, most, body = value
            if most >= _LONG:
                yield before, sample(body)
                yield "", before + sample(body)
                yield "", before
            yield from attacks(body, before)
        elif name == "SUBPATTERN":
            yield from attacks(value[-1], before)
        elif name == "BRANCH":
            for branch in value[1]:
                yield from attacks(branch, before)
        elif name in {"ASSERT", "ASSERT_NOT"}:
            yield from attacks(value[1], before)
        before += _one(name, value)


def growth(pattern: re.Pattern[str], start: str, piece: str) -> tuple[float, float]:
    """Give how many times as long twice the text takes, and the seconds that the longest one takes."""
    seconds = []
    for times in (1, 2, 4):
        text = start + piece * (times * _LENGTH // len(piece)) + "\0"
        begin = time.process_time()
        for _match in pattern.finditer(text):
            pass
        seconds.append(time.process_time() - begin)
    return (0.0 if seconds[-1] < _WORTH else seconds[-1] / seconds[-2]), seconds[-1]


def main() -> int:
    """Measure all, and print what grows faster than the text."""
    measured, faults, slowest = 0, 0, (0.0, "", "")
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    known = {pattern: module for pattern, module in patterns().items() if part in module}
    for (text, flags), module in sorted(known.items(), key=lambda item: item[1]):
        pattern = re.compile(text, flags)
        worst = (0.0, 0.0, "", "")
        for start, piece in dict.fromkeys(attacks(parser.parse(text, flags & ~re.DEBUG))):
            if piece:
                measured += 1
                factor, seconds = growth(pattern, start, piece)
                slowest = max(slowest, (seconds, module, text[:80]))
                if factor > _GROWTH:
                    # Once more: others use this processor, too.
                    factor, seconds = min((factor, seconds), growth(pattern, start, piece))
                if factor > worst[0]:
                    worst = (factor, seconds, start, piece)
        if worst[0] > _GROWTH:
            reason = next((why for part, why in _BOUNDED.items() if part in module), "")
            faults += not reason
            print(f"{module}: {worst[0]:.1f} times, {worst[1]:.2f} s: {text[:100]!r}")
            print(f"    {worst[2][:60]!r} and then {worst[3][:60]!r} {f'({reason})' if reason else ''}", flush=True)
    print(f"{len(known)} patterns, {measured:,} texts of up to {4 * _LENGTH:,} characters; {faults} grow too fast")
    print(f"the slowest took {slowest[0]:.2f} s ({slowest[1]}: {slowest[2]!r})")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
