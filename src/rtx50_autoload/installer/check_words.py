"""What the check of an installation comes to, made from the document of `check_child`: the same words everywhere."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.knowledge import read_tables
from rtx50_autoload.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["besides", "conflicts", "issues", "left_open", "load_relations", "summary"]

#: How many issues a summary names.
_MOST_NAMED: Final = 3
#: How the ids of findings about the GPU code of a package end.
_ABOUT_CODE: Final = ("impossible", "partial", "unreadable", "no-gpu-code")


@cache
def load_relations() -> Mapping[str, Mapping[str, list[str]]]:
    """Read `check.toml`."""
    return read_tables(__package__, "check.toml")


def issues(document: Mapping[str, Any]) -> list[str]:
    """Say what is wrong, each in one sentence, the most important first.

    Besides the findings of the examination that is what the plan changes, where no finding speaks of it (a package that
    does not fit, say), and what it cannot mend.
    """
    plan, findings = document["plan"], document["findings"]
    found = [
        *(finding["what"] for finding in findings),
        *(
            text
            for step in plan["steps"]
            if not any(_mends(step, finding) for finding in findings)
            for text in _changes(step, plan)
        ),
        *conflicts(plan),
        *(each["what"] for each in plan["unsolved"] if not any(_is_same(each, finding) for finding in findings)),
    ]
    if not found and plan["outcome"] != "nothing":
        found.append(plan["summary"])
    return list(dict.fromkeys(map(_line, found)))


def left_open(document: Mapping[str, Any]) -> list[str]:
    """Give those issues that the steps of the plan do not mend."""
    plan = document["plan"]
    mended = [plan["summary"]] if plan["steps"] else []
    for step in plan["steps"]:
        mended += _changes(step, plan)
        mended += [finding["what"] for finding in document["findings"] if _mends(step, finding)]
    return [issue for issue in issues(document) if issue not in set(map(_line, mended))]


def besides(document: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """Give what the steps do not mend, each with `what`, `why` and `next`: of the plan first, then of the findings."""
    rest = left_open(document)
    found = [each for each in (*document["plan"]["unsolved"], *document["findings"]) if _line(each["what"]) in rest]
    return list({each["what"]: each for each in found}.values())


def summary(document: Mapping[str, Any]) -> list[str]:
    """Say in a few lines how it stands, what is gravest, what comes first, and which command tells more."""
    found = issues(document)
    if not found:
        return ["RTX50_CHECK_INSTALL: nothing wrong was found in this environment."]
    lines = [f"RTX50_CHECK_INSTALL: {len(found)} issue{'' if len(found) == 1 else 's'} found in this environment."]
    lines += [f"- {issue}" for issue in found[:_MOST_NAMED]]
    if len(found) > _MOST_NAMED:
        lines.append(f"- {len(found) - _MOST_NAMED} more")
    steps = document["plan"]["steps"]
    next_ = next((each["next"] for each in besides(document) if each["next"]), None)
    if steps:
        lines.append(f"First step: {steps[0]['what']}")
    elif next_:
        lines.append(f"Next: {next_}")
    lines.append(f"All of it: rtx50-autoload {'plan' if steps else 'doctor'}")
    return list(map(_line, lines))


def conflicts(plan: Mapping[str, Any]) -> list[str]:
    """Say which installed packages the steps of a plan would break."""
    return [
        f"{conflict['package']} requires {conflict['requirement']}, but {conflict['planned']} would be installed."
        for conflict in plan["conflicts"]
    ]


def _mends(step: Mapping[str, Any], finding: Mapping[str, str]) -> bool:
    about_code = {f"{change['package']}-{end}" for change in step["changes"] for end in _ABOUT_CODE}
    return finding["id"] in about_code or finding["id"] in load_relations()["mends"].get(step["id"], ())


def _is_same(unsolved: Mapping[str, str], finding: Mapping[str, str]) -> bool:
    return finding["id"] == unsolved["id"] or finding["id"] in load_relations()["same"].get(unsolved["id"], ())


def _changes(step: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterator[str]:
    """Say why a step changes packages; those that it changes for the sake of others are left out."""
    wanted = {"torch", *(goal.rpartition(" ")[2] for goal in plan["goals"])}
    for change in step["changes"]:
        if change["package"] not in wanted:
            continue
        if change["before"] is None:
            yield f"{change['package']} is not installed."
        elif change["after"] is None:
            yield f"{change['package']} {change['before']} is in the way."
        else:
            yield f"{change['package']} {change['before']} has to become {change['after']}."


def _line(text: str) -> str:
    return printable(" ".join(text.split()))
