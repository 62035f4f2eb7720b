"""Each file of the package in turn is removed, or cut in its middle: a program runs as it does without us.

Not among the default tests, because each file costs two starts of Python. The nox session `damaged` runs it.
"""

from __future__ import annotations

import collections

import pytest

import hostile
import rig

#: Python itself names a start-up line that fails, and torch an entry point that does.
NEEDED_BY_OTHERS = {
    "removed": {f"{rig.HOOK}.py", f"{rig.SECOND_DOOR}.py"},
    "cut": {f"{rig.HOOK}.py", f"{rig.SECOND_DOOR}.py", rig.PTH, "entry_points.txt"},
}
DAMAGES = {
    "removed": lambda file, _: file.unlink(),
    "cut": lambda file, content: file.write_bytes(content[: len(content) // 2]),
}


@pytest.fixture
def sides(with_fake_torch, fake_torch_alone, tmp_path):
    copies = (
        hostile.copy_of(venv, tmp_path / name / "v") for venv, name in ((with_fake_torch, "a"), (fake_torch_alone, "b"))
    )
    return hostile.make_sides(*copies, tmp_path)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_program_runs_whichever_file_is_damaged(sides, damage, capsys):
    packages = sides.with_us.venv.site_packages
    places = [packages / "rtx50_autoload", *packages.glob("rtx50_autoload-*"), packages]
    files = sorted(
        file
        for place in places
        for file in (place.glob("*rtx50*") if place == packages else place.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts and file.name not in NEEDED_BY_OTHERS[damage]
    )
    for side in (sides.with_us, sides.without):
        (side.folder / "program.py").write_text(hostile.PROGRAM.format(before="", after=""))
    other = sides.without.run(hostile.FAIL)
    counts = collections.Counter()
    for file in files:
        content = file.read_bytes()
        DAMAGES[damage](file, content)
        ours = sides.with_us.run(hostile.FAIL)
        file.write_bytes(content)
        assert ours.without_ours == (other.stdout, other.stderr, other.code), (file, ours)
        counts["files"] += 1
        counts["told all the same"] += ours.is_told
        counts["error explained all the same"] += any(line.startswith("Run: ") for line in ours.said)
    with capsys.disabled():
        print(f"\n{damage}: {dict(counts)}")
