"""A text without what surrounds it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtx50_autoload.diagnosis.normalise import lowered, normalise

LINE = "RuntimeError: CUDA error: no kernel image is available"


@pytest.mark.parametrize(
    "prefix",
    [
        "Nov 22 17:41:01 box comfyui[2211]: ",
        "Nov  2 17:41:01 box python3[9]: ",
        "2026-11-22T17:41:01+0100 box python3[2211]: ",
        "2026-11-22 17:41:01,465 - __main__ - INFO - ",
        "[2026-11-22 17:41:01] ",
        "vllm-1  | ",
        "#14 23.51 ",
        "2026-11-22T17:41:01.123456789Z stderr F ",
        "ERROR 11-22 17:41:01 [engine.py:400] ",
        "ERROR 11-22 17:41:01 engine.py:400] ",
        "(EngineCore_DP0 pid=79) ERROR 11-22 17:41:01 [core.py:719] ",
        "(VllmWorkerProcess pid=123) ",
        "(RayTrainWorker pid=1234, ip=10.0.0.7) ",
        "(raylet) ",
        "[rank0]: ",
        "[default3]:",
        "[1,0]<stderr>: ",
        "3:     ",
        "E0628 11:38:05.609311 27896 gpu_resources.cc:98] ",
        "[17:41:01] ",
        "ERROR: ",
        "> ",
    ],
)
def test_a_log_prefix_is_taken_off(prefix):
    assert normalise(prefix + LINE).lines == (LINE,)


@pytest.mark.parametrize(
    "line",
    [
        "C:\\new\\nvcc.exe failed",
        "(5.0) - (9.0)",
        "[WinError 126] not found",
        "- 8.0 which supports hardware CC >=8.0,<9.0",
        "12:34 is a time",
    ],
)
def test_what_only_looks_like_a_prefix_stays(line):
    assert normalise(line).flat == line


@pytest.mark.parametrize(
    "text", ["a\r\nb", "a\rb", "a\n\n  b", "a b", "\x1b[31ma\x1b[0m\nb", "[31ma[0m b", "a\u200b b", "a\u00a0b"]
)
def test_the_way_of_pasting_changes_nothing(text):
    assert normalise(text).flat == "a b"


def test_breaks_that_a_log_has_written_as_two_characters_are_breaks():
    assert normalise("Traceback:\\n  File\\r\\nRuntimeError: x").lines == ("Traceback:", "File", "RuntimeError: x")


def test_the_quotes_of_compilers_are_plain_quotes():
    assert normalise("Instruction \u2018wgmma\u2019").flat == "Instruction 'wgmma'"


def test_a_place_leads_back_to_its_line():
    text = normalise("first\nsecond line\nthird")
    assert text.line_at(text.flat.index("line")) == "second line"
    assert text.line_start(text.flat.index("line")) == text.flat.index("second")


@given(st.text())
def test_small_letters_keep_the_length(text):
    assert len(lowered(text)) == len(text)
    assert len(normalise(text).lower) == len(normalise(text).flat)
