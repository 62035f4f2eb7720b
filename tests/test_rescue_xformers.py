"""The stand-ins for xformers on the CPU, beside the real xformers; tests/gpu_attention is the part for a GPU."""

from __future__ import annotations

import ast
import json
import platform
from itertools import product
from pathlib import Path

import pytest

import rig
from rtx50_autoload.rescue.band import Band, band_of

TESTS = Path(__file__).resolve().parent
GRID = TESTS / "xformers_grid.py"
XFORMERS = "xformers==0.0.35"

#: The limits of a band.
SIDES = [
    (low, high) for low, high in product((None, *range(-6, 7)), repeat=2) if low is None or high is None or low <= high
]


def checks() -> list[str]:
    """Return the names of the grid's checks, without importing it."""
    functions = (node for node in ast.parse(GRID.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef))
    return [function.name for function in functions if "check" in map(ast.unparse, function.decorator_list)]


@pytest.fixture(scope="module")
def found(_make_session_venv) -> dict[str, list[str]]:
    """What the grid has found wrong, by its checks."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        pytest.skip(f"needs {XFORMERS}, which has no wheel for {platform.machine()}")
    # A program that counts lines and one that traces for torch.compile hinder each other.
    venv = _make_session_venv(torch="real", coverage=False)
    rig.uv_pip("install", venv, "--no-deps", XFORMERS)
    done = venv.run("-W", "ignore", GRID, env={"PYTHONPATH": str(TESTS)}, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("check", checks())
def test_beside_the_real_xformers(found, check):
    assert not found[check], "\n".join(found[check])


def test_a_trimmed_band_is_the_same_band():
    for (low, high), queries, keys in product(SIDES, (1, 2, 5), (1, 3, 5)):
        band = Band(low, high)
        seen = cells(band, queries, keys)
        part = band.trim(queries, keys)
        if part.last_row <= part.first_row or part.last_key <= part.first_key:
            assert not seen, band
            continue
        rows, columns = part.last_row - part.first_row, part.last_key - part.first_key
        inside = cells(part.band, rows, columns)
        assert {(row + part.first_row, column + part.first_key) for row, column in inside} == seen, band
        # Nothing is left that sees nothing or is not seen, which a kernel could stumble over.
        assert {row for row, _ in inside} == set(range(rows)), band
        assert {column for _, column in inside} == set(range(columns)), band


def test_a_window_for_the_kernel_of_flash_is_the_same_band_as_the_kernel_takes_it():
    taken = 0
    for (low, high), queries, keys in product(SIDES, (1, 2, 5, 9), (1, 3, 5, 9)):
        part = Band(low, high).trim(queries, keys)
        rows, columns = part.last_row - part.first_row, part.last_key - part.first_key
        if rows <= 0 or columns <= 0:
            continue
        window = part.band.flash_window(rows, columns)
        if window is not None:
            taken += 1
            assert cells(part.band, rows, columns) == flash_cells(window, rows, columns), (part, window)
    assert taken > 500


@pytest.mark.parametrize(
    ("causal", "window", "band"),
    [
        (None, None, Band(None, None)),
        (None, (-1, -1), Band(None, None)),
        (None, (2, 1), Band(1, 4)),
        ("top-left", None, Band(None, 0)),
        ("bottom-right", None, Band(None, 3)),
        ("top-left", (2, 5), Band(-2, 0)),
        ("bottom-right", (2, None), Band(1, 3)),
    ],
)
def test_a_diagonal_lies_where_its_mask_says(causal, window, band):
    assert band_of(causal, window, 6, 9) == band


def cells(band: Band, queries: int, keys: int) -> set[tuple[int, int]]:
    """Return which query sees which key."""
    return {
        (row, column)
        for row, column in product(range(queries), range(keys))
        if (band.low is None or column >= row + band.low) and (band.high is None or column <= row + band.high)
    }


def flash_cells(window: tuple[int, int], queries: int, keys: int) -> set[tuple[int, int]]:
    """Return which query sees which key in flash's kernel, which drops limits and makes up others."""
    left, right = (-1 if side >= keys else side for side in window)
    if left < 0 <= right:
        left = keys
    if right < 0 <= left:
        right = keys
    if left < 0 and right < 0:
        return set(product(range(queries), range(keys)))
    diagonal = keys - queries
    return cells(Band(diagonal - left, diagonal + right), queries, keys)
