"""What follows from the probes: one finding for each library and way of failing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.finding import Finding, Severity
from rtx50_autoload.evidence.probe_report import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtx50_autoload.evidence.probe_report import ProbeReport, ProbeResult

__all__ = ["findings"]

_NEXT_WITHOUT_CUDA: Final = {
    "no-torch": "Install a torch that is built for CUDA.",
    "broken-torch": "`python -c 'import torch'` shows the whole error.",
    "no-cuda-build": "Install a torch that is built for CUDA.",
    "no-cuda": "`nvidia-smi` tells whether the driver works. In a container, the GPU has to be passed through.",
    "hangs": "`nvidia-smi` tells whether the driver works. From a slow disk, try once more.",
}
_NEXT_OTHERWISE: Final = "`python -c 'import torch; torch.zeros(1).cuda()'` shows what happens."

_BAD: Final = {
    State.FAILS: "fails",
    State.WRONG_NUMBERS: "computes wrong numbers",
    State.HANGS: "hangs",
}
_NEXT_IF_UNKNOWN: Final = "Update {library}, or look for the text of the error among its reported problems."


def findings(report: ProbeReport) -> list[Finding]:
    """Give what is wrong: one finding for each library and way of failing, the worst first.

    A probe with an alternative that works is a warning; all others that do not work are errors. Where nothing could be
    run there is one finding that says so.
    """
    if not report.usable:
        return [
            Finding(
                id="probe-not-run",
                severity=Severity.INFO,
                what="Nothing was computed on a GPU.",
                why=report.reason,
                next=_NEXT_WITHOUT_CUDA.get(report.obstacle, _NEXT_OTHERWISE),
            )
        ]
    served = {result.one_of for result in report.results if result.state is State.WORKS and result.one_of}
    groups: dict[tuple[Severity, str, State], list[ProbeResult]] = {}
    for result in report.results:
        if result.state in _BAD:
            spared = result.one_of in served and result.state is State.FAILS
            severity, subject = (Severity.WARNING, result.one_of) if spared else (Severity.ERROR, result.library)
            groups.setdefault((severity, subject, result.state), []).append(result)
    order = list(Severity)
    return [
        _finding(severity, subject, state, results, report)
        for (severity, subject, state), results in sorted(groups.items(), key=lambda item: order.index(item[0][0]))
    ]


def _finding(
    severity: Severity, subject: str, state: State, results: Sequence[ProbeResult], report: ProbeReport
) -> Finding:
    first = results[0]
    tried = [
        result
        for result in report.results
        if result.library == first.library and result.state is not State.NOT_INSTALLED
    ]
    causes = dict.fromkeys(_cause(result) for result in results)
    return Finding(
        id=f"probe-{subject.replace('_', '-')}-{state.value.replace(' ', '-')}",
        severity=severity,
        what=f"{first.library} {_BAD[state]} on {report.device}: {', '.join(result.name for result in results)} "
        f"({len(results)} of {len(tried)} computations tried).",
        why=" ".join(causes),
        next=first.next or _NEXT_IF_UNKNOWN.format(library=first.library),
    )


def _cause(result: ProbeResult) -> str:
    clauses = [str(result.error).rstrip(".")] if result.error else []
    if result.why:
        clauses.append(result.why)
    sentence = " - ".join(clauses)
    return f"{sentence[:1].upper()}{sentence[1:]}."
