"""What the check of an installation comes to, made from the document of `check_child`: the same words everywhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["besides", "issues", "left_open", "summary"]

#: How many issues a summary names.
_MOST_NAMED: Final = 3


def issues(document: Mapping[str, Any]) -> list[str]:
    """Say what is wrong, each in one sentence, the most important first.

    Besides the findings of the examination that is what the plan changes, where no finding speaks of it (a package that
    is missing, say), and what it cannot mend.
    """
    plan, findings = document["plan"], document["findings"]
    # Of the packages that a step changes, most are changed for the sake of those that are wanted.
    wanted = {"torch", *(goal.rpartition(" ")[2] for goal in plan["goals"])}
    changes = [change for change in _changes(plan) if change["package"] in wanted]
    found = [
        *(finding["what"] for finding in findings),
        *(_sentence(change) for change in changes if not any(_speaks_of(one, [change]) for one in findings)),
        *(
            f"{conflict['package']} requires {conflict['requirement']}, but {conflict['planned']} would be installed."
            for conflict in plan["conflicts"]
        ),
        *(each["what"] for each in plan["unsolved"] if each["id"] not in {finding["id"] for finding in findings}),
    ]
    if not found and plan["outcome"] != "nothing":
        found.append(plan["summary"])
    return list(dict.fromkeys(_line(text) for text in found))


def left_open(document: Mapping[str, Any]) -> list[str]:
    """Give those issues that the steps of the plan do not mend."""
    plan = document["plan"]
    changes = list(_changes(plan))
    unsolved = {each["id"] for each in plan["unsolved"]}
    mended = {
        *map(_sentence, changes),
        *(each["what"] for each in document["findings"] if each["id"] not in unsolved and _speaks_of(each, changes)),
        *([plan["summary"]] if plan["steps"] else []),
    }
    return [issue for issue in issues(document) if issue not in set(map(_line, mended))]


def besides(document: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """Give what the steps do not mend, each with `what`, `why` and `next`: of the plan first, then of the findings."""
    rest = left_open(document)
    found = {each["id"]: each for each in (*document["plan"]["unsolved"], *document["findings"])}
    return [each for each in found.values() if _line(each["what"]) in rest]


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


def _changes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for step in plan["steps"]:
        yield from step["changes"]


def _sentence(change: Mapping[str, Any]) -> str:
    if change["before"] is None:
        return f"{change['package']} is not installed."
    if change["after"] is None:
        return f"{change['package']} {change['before']} is in the way."
    return f"{change['package']} {change['before']} has to become {change['after']}."


def _speaks_of(finding: Mapping[str, str], changes: Iterable[Mapping[str, Any]]) -> bool:
    words = set(re.findall(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*", finding["what"].lower().replace("_", "-")))
    return any(change["package"] in words for change in changes)


def _line(text: str) -> str:
    return printable(" ".join(text.split()))
