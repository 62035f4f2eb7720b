"""Judge the classifier by reports whose category is known; run by the nox session `corpus` and by the tests.

One report is one line of JSON: ``message`` (or ``text``), ``environment``, ``category``, and ``source``, the project or
report that shows the wording. `tests/errors/reports.jsonl` holds the project's own.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rtx50_autoload.diagnosis import classify
from rtx50_autoload.diagnosis.described import read_description

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rtx50_autoload.diagnosis.diagnosis import Diagnosis

OWN = Path(__file__).parent / "errors" / "reports.jsonl"

#: Least share of right categories, as they are and behind each form.
RIGHT = 0.97
ROBUST = 0.95

#: Categories for which a fix for the RTX 50 series would be a wrong one.
OTHER_GPUS = frozenset({"unrelated", "no_kernel_image_old_gpu"})
_RTX_50_FIX = re.compile(r"cu12[89]|cu13\d|12\.0\b|sm_?120|compute_120|rtx 50", re.IGNORECASE)


@dataclass(frozen=True)
class Report:
    id: str
    text: str
    environment: Mapping[str, object]
    category: str

    def diagnose(self, text: str | None = None) -> Diagnosis:
        return classify(self.text if text is None else text, read_description(self.environment))


def read_reports(path: Path) -> list[Report]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        Report(
            str(row.get("id", number)),
            row.get("message") or row["text"],
            row.get("environment") or {},
            row["category"],
        )
        for number, row in enumerate(rows, 1)
    ]


def prefixed(prefix: str) -> Callable[[Report], str]:
    return lambda report: "\n".join(prefix + line for line in report.text.splitlines())


def coloured(report: Report) -> str:
    return "\n".join(f"\x1b[1;31m{line}\x1b[0m" for line in report.text.splitlines())


def last_five(report: Report) -> str:
    """The last five lines that still hold the line that the error shows itself by."""
    lines = report.text.splitlines()
    headline = report.diagnose().headline[:40]
    places = [place for place, line in enumerate(lines) if headline and headline in " ".join(line.split())]
    start = min(places[-1], len(lines) - 5) if places else len(lines) - 5
    return "\n".join(lines[max(start, 0) :][:5])


FORMS: dict[str, Callable[[Report], str]] = {
    "journald": prefixed("Nov 22 17:41:01 box comfyui[2211]: "),
    "systemd, ISO time": prefixed("2026-11-22T17:41:01+0100 box python3[2211]: "),
    "docker compose": prefixed("vllm-1  | "),
    "docker build": prefixed("#14 23.51 "),
    "kubernetes": prefixed("2026-11-22T17:41:01.123456789Z stderr F "),
    "vLLM": prefixed("ERROR 11-22 17:41:01 [engine.py:400] "),
    "vLLM worker": prefixed("(EngineCore_DP0 pid=79) ERROR 11-22 17:41:01 [core.py:719] "),
    "Ray": prefixed("(RayTrainWorker pid=1234, ip=10.0.0.7) "),
    "torchrun": prefixed("[rank0]: "),
    "torchrun, old": prefixed("[default3]:"),
    "Python logging": prefixed("2026-11-22 17:41:01,465 - __main__ - INFO - "),
    "one line": lambda report: " ".join(report.text.splitlines()),
    "one line, written breaks": lambda report: "\\n".join(report.text.splitlines()),
    "ANSI colours": coloured,
    "CRLF": lambda report: "\r\n".join(report.text.splitlines()),
    "last five lines": last_five,
}


def is_for_rtx_50(diagnosis: Diagnosis) -> bool:
    """Whether a step installs a torch for the RTX 50 series, sets its architecture, or names it."""
    return any(_RTX_50_FIX.search(" ".join((step.step, *step.commands))) for step in diagnosis.fix)


def judge(reports: Iterable[Report], say: Callable[[str], object] = print) -> list[str]:
    """Print how well the classifier does, and return what is below the thresholds."""
    reports = list(reports)
    faults = []
    wrong, misplaced = [], 0
    confusion: dict[str, Counter[str]] = {}
    for report in reports:
        diagnosis = report.diagnose()
        confusion.setdefault(report.category, Counter())[diagnosis.category] += 1
        if diagnosis.category != report.category:
            wrong.append((report, diagnosis))
        misplaced += report.category in OTHER_GPUS and is_for_rtx_50(diagnosis)
    share = 1 - len(wrong) / len(reports)
    say(f"{len(reports)} reports, {share:.1%} in the right category")
    if share < RIGHT:
        faults.append(f"{share:.1%} right, {RIGHT:.0%} asked for")
    say(f"{'category':32} {'reports':>7} {'right':>6}  taken for")
    for category, given in sorted(confusion.items()):
        others = ", ".join(f"{name} {count}" for name, count in given.most_common() if name != category)
        say(f"{category:32} {sum(given.values()):7} {given[category]:6}  {others}")
    for report, diagnosis in wrong:
        say(f"       {report.id}: {report.category} -> {diagnosis.category} ({diagnosis.signature})")
    say(f"{misplaced} fixes for the RTX 50 series given to other GPUs or other errors")
    if misplaced:
        faults.append(f"{misplaced} fixes for the RTX 50 series where there may be none")
    say("the right category behind each form:")
    for name, form in FORMS.items():
        right = sum(report.diagnose(form(report)).category == report.category for report in reports)
        say(f"  {right / len(reports):6.1%}  {name}")
        if right < ROBUST * len(reports):
            faults.append(f"{right / len(reports):.1%} right as {name}, {ROBUST:.0%} asked for")
    return faults


def main() -> int:
    faults = [fault for path in (list(map(Path, sys.argv[1:])) or [OWN]) for fault in judge(read_reports(path))]
    for fault in faults:
        print(f"too little: {fault}")  # noqa: T201
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
