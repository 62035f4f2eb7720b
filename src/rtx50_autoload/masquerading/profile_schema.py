"""The form of a file of profiles, and for each mistake in one what to write instead."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from .adjustments import ADJUSTMENTS
from .profiles import Problem, Profiles, belongs, make_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .profiles import Origin

__all__ = ["PROFILE_KEYS", "RULE_KEYS", "Key", "read_profiles"]

_LONGEST_SHOWN = 60


class Key(NamedTuple):
    """One key of a table."""

    #: Tells whether a value will do.
    holds: Callable[[Any], bool]
    #: What will do, to follow "write".
    wanted: str
    required: bool = True
    #: Whether it holds several such values.
    is_list: bool = False

    def wrong(self, value: object) -> list[object]:
        """Give what will not do: the value, or those in a list."""
        if not self.is_list:
            return [] if self.holds(value) else [value]
        if not isinstance(value, list) or not value:
            return [value]
        return [each for each in value if not self.holds(each)]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_module(value: object) -> bool:
    return isinstance(value, str) and all(part.isidentifier() for part in value.split("."))


def _is_answer(value: object) -> bool:
    return value in ("target", "truth")


def _is_range(value: object) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - where a range has to be read

    try:
        return _is_text(value) and bool(SpecifierSet(str(value)))
    except InvalidSpecifier:
        return False


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


_ANSWER = '"target" or "truth"'

#: What a table ``[[profile]]`` may hold.
PROFILE_KEYS = {
    "library": Key(_is_text, 'the library\'s name, such as "mylib"'),
    "modules": Key(_is_module, 'names of modules in a list, such as ["mylib", "mylib.kernels"]', is_list=True),
    "distribution": Key(_is_text, 'the name that pip knows it by, such as "my-lib"', required=False),
    "masquerade": Key(_is_answer, _ANSWER),
    "rule": Key(_is_table, "tables [[profile.rule]]", is_list=True),
}
#: What a table ``[[profile.rule]]`` may hold.
RULE_KEYS = {
    "versions": Key(_is_range, 'a range of versions, such as ">=1.2,<2"', required=False),
    "unversioned": Key(lambda value: isinstance(value, bool), "true or false", required=False),
    "report": Key(_is_answer, _ANSWER),
    "adjust": Key(
        lambda value: isinstance(value, str) and value in ADJUSTMENTS,
        f"switches that are known here, in a list: {', '.join(ADJUSTMENTS)}",
        required=False,
        is_list=True,
    ),
    "reason": Key(_is_text, "why, in a few words for the person who runs `rtx50-autoload status`"),
    "source": Key(_is_text, "the file and version that was read, or what was run on which hardware"),
}


def read_profiles(tables: Mapping[str, Any], origin: Origin) -> Profiles:
    """Make the profiles of a file's content; one with a mistake is left out as a whole, and the others hold."""
    problems = [
        Problem(origin, "", f"{_shown(key)} is nothing that this file can hold; write tables [[profile]]")
        for key in tables
        if key != "profile"
    ]
    entries = tables.get("profile", [])
    if not isinstance(entries, list):
        entries = []
        problems.append(Problem(origin, "", "'profile' is no list of tables; write [[profile]]"))
    taken: dict[str, int] = {}
    profiles = []
    for number, entry in enumerate(entries, 1):
        mistakes = list(_mistakes_of_profile(entry, taken))
        if mistakes:
            name = entry.get("library") if isinstance(entry, dict) else None
            where = f"profile {number} ({_shown(name)})" if _is_text(name) else f"profile {number}"
            problems += [Problem(origin, where, what) for what in mistakes]
        else:
            profiles.append(make_profile(entry, origin))
            taken |= dict.fromkeys(entry["modules"], number)
    return Profiles(tuple(profiles), tuple(problems))


def _mistakes_of_profile(entry: object, taken: Mapping[str, int]) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"it is {_shown(entry)}; write [[profile]]"
        return
    wrong = [*_mistakes(entry, PROFILE_KEYS)]
    rules = entry.get("rule")
    if isinstance(rules, list):
        tables = [(number, rule) for number, rule in enumerate(rules, 1) if _is_table(rule)]
        wrong += [f"rule {number}: {what}" for number, rule in tables for what in _mistakes(rule, RULE_KEYS)]
    # What contradicts what is of interest where each value is right by itself.
    yield from wrong or [*_contradictions_of_modules(entry, taken), *_contradictions_of_rules(entry)]


def _mistakes(table: Mapping[str, Any], keys: Mapping[str, Key]) -> Iterator[str]:
    for name in table:
        if name not in keys:
            yield f"{_shown(name)} is no key here; known are {', '.join(keys)}"
    for name, key in keys.items():
        if name in table:
            wrong = key.wrong(table[name])
            if wrong:
                yield f"{name!r} is or holds {_shown(wrong[0])}; write {key.wanted}"
        elif key.required:
            yield f"{name!r} is missing; write {key.wanted}"


def _contradictions_of_modules(entry: Mapping[str, Any], taken: Mapping[str, int]) -> Iterator[str]:
    for module, count in Counter(entry["modules"]).items():
        if count > 1:
            yield f"'modules' names {module!r} twice"
        if module in taken:
            yield f"profile {taken[module]} of this file names the module {module!r}, too; write one profile for it"
    for number, rule in enumerate(entry["rule"], 1):
        for name in rule.get("adjust", ()):
            # It is set for the whole process, whoever asks: no library may set the switches of another one.
            switched = ADJUSTMENTS[name].module
            if not any(belongs(switched, module) for module in entry["modules"]):
                yield f"rule {number}: {name!r} is a switch of {switched}, which 'modules' do not hold"


def _contradictions_of_rules(entry: Mapping[str, Any]) -> Iterator[str]:
    *versioned, last = entry["rule"]
    for number, rule in enumerate(versioned, 1):
        if "versions" not in rule:
            yield f"rule {number}: without 'versions' it holds for all; write it last"
    if "versions" in last:
        yield f"rule {len(versioned) + 1}: all other versions have no rule; write one after it, without 'versions'"
    if "distribution" not in entry and any("versions" in rule for rule in entry["rule"]):
        yield f"'distribution' says whose 'versions' are compared; write {PROFILE_KEYS['distribution'].wanted}"
    if sum(rule.get("unversioned", False) for rule in entry["rule"]) > 1:
        yield "'unversioned' is true in two rules; one alone can speak for a version that is not known"


def _shown(value: object) -> str:
    """Name a value as it stands in a file; numbers may be too long to be written out."""
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}…")
    words = {bool: "true or false", int: "a number", float: "a number", dict: "a table"}
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return words.get(type(value), "a date or a time")
