"""What the pages show of the commands is what they print; `docs/record.py` records it anew."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import pytest
import record

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="recorded on Linux, in bash")


def recorded(name):
    return (record.RECORDED / name).read_text(encoding="utf-8")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="doctor adds a line: the newest torch leaves this Python out")
@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="recorded on a machine without a GPU")
def test_the_tutorial_shows_what_its_commands_print():
    def comparable(text, home):
        # What this machine lacks to build something is another thing on each.
        text = re.sub(r"(?s)(?<=\n)info: .*?\n\n", "", text)
        # Lines are folded by the length of paths.
        text = re.sub(r"\s+", "", text).replace(home, "HOME")
        return re.sub(r"python3\.\d+t?/|\d+moredistributions", "", text)

    # A folder whose name is short: pytest's are longer than a line.
    with tempfile.TemporaryDirectory(prefix="you") as name:
        printed = record.first_steps(Path(name))
        left = {path.relative_to(name).as_posix() for path in Path(name).glob("*/*")}
    assert comparable(printed, name) == comparable(recorded("first-steps.txt"), "/home/you"), printed
    assert left <= {".cache/pip", ".cache/rtx50-autoload"}


@pytest.mark.parametrize(
    ("name", "arguments", "folder"),
    [
        ("explain.txt", ("explain", "crash.txt", "--environment", "machine.json"), record.RECORDED),
        ("plan.txt", ("plan", "--machine", "desktop-5060-ti.toml"), record.MACHINES),
    ],
)
def test_a_record_of_a_described_machine_is_what_is_printed(installed, name, arguments, folder):
    assert record.terminal(installed.root, *arguments, folder=folder) == recorded(name)
