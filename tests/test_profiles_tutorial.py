"""The tutorial of docs/extending.md, followed to the letter in a fresh environment."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

import rig

PAGE = (rig.ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```\{code-block\} \w+\n:caption: `?(\S+?)`?\n\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
BLOCKS = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mylib")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def typed(block):
    """Give each command of a block with what the page says that it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, [line.rstrip() for line in printed.splitlines()]


@pytest.mark.skipif(os.name == "nt", reason="the page's commands are for a shell of POSIX")
def test_what_the_page_prints_is_what_comes_of_it(make_venv, project):
    venv = make_venv(torch="fake")
    assert set(FILES) == {"pyproject.toml", "src/mylib/__init__.py", "src/mylib/rtx50_profiles.toml"}
    commands = [each for block in BLOCKS for each in typed(block)]
    assert len(commands) > 5
    for command, printed in commands:
        if "pip install" in command:
            # The surroundings of whoever runs the tests know where packages come from.
            assert command.endswith("pip install --quiet .")
            rig.uv_pip("install", venv, project)
            continue
        path = os.pathsep.join([str(venv.python.parent), os.environ["PATH"]])
        result = subprocess.run(
            ["sh", "-c", command],  # noqa: S607
            cwd=project,
            env=venv.environment({"PATH": path}),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=rig.TIMEOUT,
        )
        assert [line.rstrip() for line in result.stdout.splitlines()] == printed, command
