"""Which errors are worth a diagnosis: all that the classifier knows, and few others."""

from __future__ import annotations

import builtins
import re

import pytest

from error_corpus import OWN, read_reports
from rtx50_autoload.diagnosis.diagnosis import ABSTENTIONS
from rtx50_autoload.errorhooks.telltales import concerns

#: The line of a traceback that names the error.
ERROR = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Za-z_]*(?:Error|Exception|Exit|OutOfResources)): (.+)$")


def errors(text: str) -> list[Exception]:
    """Make the errors that a traceback names."""
    found = (ERROR.match(line.strip()) for line in text.splitlines())
    return [made(match[1], match[2]) for match in found if match]


def made(name: str, text: str) -> Exception:
    if name == "ModuleNotFoundError":
        return ModuleNotFoundError(text, name=text.rpartition("named ")[2].strip("'"))
    base = getattr(builtins, name, RuntimeError if "Dist" in name or name == "XlaRuntimeError" else Exception)
    return type(name, (base,), {})(text)


#: Known when somebody asks, but nothing to speak of by ourselves: a list that was empty, a package that is just not
#: installed, a class called Error, an error of another kind after a warning that decides.
NOT_BY_OURSELVES = re.compile(
    r"list index out of range|OutOfMemoryError: |No module named '\w+'|^[\w.]*\bError: ", re.MULTILINE
)

REPORTS = [
    report
    for report in read_reports(OWN)
    if report.category not in ABSTENTIONS and errors(report.text) and not NOT_BY_OURSELVES.search(report.text)
]


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.id)
def test_an_error_that_the_classifier_knows_passes_the_filter(report):
    assert any(map(concerns, errors(report.text))), errors(report.text)


def test_there_are_reports_to_judge_by():
    assert len(REPORTS) > 40


@pytest.mark.parametrize(
    "error",
    [
        KeyError("cuda"),
        IndexError("list index out of range"),
        ZeroDivisionError("division by zero"),
        ValueError("invalid literal for int() with base 10: 'x'"),
        RuntimeError("dictionary changed size during iteration"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        FileNotFoundError(2, "No such file or directory", "model.safetensors"),
        PermissionError(13, "Permission denied", "/root"),
        ConnectionRefusedError(111, "Connection refused to cuda.example.org"),
        ModuleNotFoundError("No module named 'xformers'", name="xformers"),
        ModuleNotFoundError("No module named 'triton'", name="triton"),
        AssertionError(),
        KeyboardInterrupt("CUDA"),
        SystemExit("CUDA"),
        StopIteration("CUDA"),
        GeneratorExit("CUDA"),
        type("Custom", (Exception,), {})("CUDA error"),
    ],
    ids=repr,
)
def test_an_unrelated_error_does_not(error):
    assert not concerns(error)


def test_a_missing_part_of_an_installed_package_does():
    assert concerns(ModuleNotFoundError("No module named 'triton.ops'", name="triton.ops"))
    assert concerns(ModuleNotFoundError("No module named 'flash_attn_2_cuda'", name="flash_attn_2_cuda"))


def test_of_a_huge_text_both_ends_are_looked_at():
    assert concerns(RuntimeError("x" * 100_000 + " CUDA error"))
    assert concerns(RuntimeError("CUDA error " + "x" * 100_000))
    assert not concerns(RuntimeError("x" * 100_000 + " CUDA error " + "x" * 100_000))
