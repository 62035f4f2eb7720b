"""What the README promises: its first steps are those of the tutorial, and its figures are those of the benchmarks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import record

import pages
import rig

README = (rig.ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = rig.ROOT / "benchmarks" / "results"


def measured(result, *beginning):
    """Give the rows of a benchmark's table whose first cell begins so."""
    rows = json.loads((RESULTS / f"{result}.json").read_text(encoding="utf-8"))["rows"]
    return [row[1:] for row in rows if row[0].startswith(beginning)]


def compared(first):
    """Give the cells of a row of the README's table: doing nothing, rtx50-compat, a newer torch, this package."""
    row = re.search(rf"^\| {re.escape(first)} \|(.*)\|$", README, re.MULTILINE)
    assert row is not None, first
    return [cell.strip() for cell in row[1].split("|")]


def test_its_steps_from_nothing_to_gone_are_those_that_the_tutorial_shows():
    block = next(block for block in pages.blocks() if block.page == "README.md" and "try50" in block.text)
    assert pages.commands(block.text) == [step for step in record.FIRST_STEPS if step != "echo $?"]


def test_its_picture_shows_what_the_demo_printed():
    drawn = re.sub(r"<[^>]*>|&#160;|\s", "", (rig.ROOT / "docs" / "demo.svg").read_text(encoding="utf-8"))
    printed = (record.RECORDED / "demo.txt").read_text(encoding="utf-8").split("$ echo")[0]
    shown = re.sub(r"\s", "", printed).replace("'", "&#x27;")
    assert shown in drawn


def test_its_cases_of_attention_are_those_that_were_counted():
    for first, result, version in (
        ("120 attention cases of xformers 0.0.35", "unlocks", "xformers 0.0.35"),
        (
            "the same, xformers 0.0.34 with its FlashAttention-3 in place",
            "unlocks-flash-attention-3",
            "xformers 0.0.34",
        ),
    ):
        without, compat, ours = (
            measured(result, f"{version}, {who}")[0] for who in ("without us", "rtx50-compat", "with us")
        )
        assert without[2] == ours[2] == "0"
        hopper = "" if compat[2] == "0" else f", {compat[2]} get a Hopper's kernel"
        # Both ran with a new torch.
        assert compared(first) == [
            f"{without[0]} run",
            f"{compat[0]} run{hopper}",
            f"{without[0]} run",
            f"{ours[0]} run",
        ]


def test_its_questions_of_other_libraries_are_those_that_were_counted():
    right = [row[0] for row in measured("unlocks", "17 questions")][:3]
    assert compared("17 questions of other libraries, answered as for a 12.0") == [
        right[0],
        right[1],
        right[0],
        right[2],
    ]


def test_its_instructions_at_a_start_are_those_that_were_counted():
    bare, ours, compat = (
        measured("startup", beginning)[0][1]
        for beginning in ("an empty environment", "rtx50-autoload", "rtx50-compat 3.0.2")
    )
    nothing, other, torch, this = compared("instructions at a start of Python (3.11)")
    assert nothing == torch == rounded(bare, 1)
    assert other == f"{rounded(compat, 1)}, where it is imported"
    # The first row of that name is the one with the package switched off.
    assert this == measured("startup", "rtx50-autoload")[1][1]
    assert ours == measured("startup", "rtx50-autoload, RTX50_DISABLE=1")[0][1]


def rounded(cell, digits):
    """Write a count such as "+27.91 M" with fewer digits."""
    number = float(cell.removesuffix(" M"))
    return f"{number:{'+' if cell.startswith('+') else ''}.{digits}f} M"


def test_every_page_that_it_links_to_is_there():
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert links
    assert [link for link in links if not Path(rig.ROOT, link).exists()] == []
