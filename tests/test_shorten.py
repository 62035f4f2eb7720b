"""Long texts are cut to what matters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtx50_autoload.troubleshooter.shorten import clip, shorten


def test_a_short_text_stays_as_it_is():
    assert shorten("one\ntwo", "", 100) == "one\ntwo"


def test_the_end_and_the_deciding_line_are_kept_and_the_gap_is_counted():
    lines = [f"line {number}" for number in range(2000)]
    lines[500] = "CUDA error: no kernel image is available"
    result = shorten("\n".join(lines), "CUDA error: no kernel image is available", 1000)
    assert lines[500] in result
    assert lines[-1] in result
    assert "line 0\n" not in result
    left_out = sum(int(line.split()[1]) for line in result.splitlines() if "lines left out" in line)
    kept = [line for line in result.splitlines() if "lines left out" not in line]
    assert left_out + len(kept) == len(lines)


def test_both_ends_of_a_long_line_are_kept():
    result = clip("a" * 5000 + "b" * 5000)
    assert result.startswith("aaa")
    assert result.endswith("bbb")
    assert len(result) < 1000


@given(st.text(), st.text(max_size=20), st.integers(0, 2000))
def test_no_text_is_longer_than_asked_for_but_for_what_says_how_much_is_missing(text, headline, longest):
    result = shorten(text, headline, longest)
    kept = [line for line in result.split("\n") if not line.startswith("[… ")]
    assert sum(len(line) + 1 for line in kept) <= max(longest, 1) + 1


@given(st.text())
def test_nothing_that_a_terminal_would_act_on_is_left(text):
    result = shorten(f"\x1b[31m{text}\x07\u202e", "", 10_000)
    assert not set(result) & {"\x1b", "\x07", "\u202e", "\r"}
