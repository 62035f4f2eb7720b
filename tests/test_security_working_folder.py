"""A folder that one changes into: nothing that lies there is run or imported by us."""

from __future__ import annotations

import json
import os
import sys
import textwrap

import pytest

import rig
from traps import Trap, leading_here

ERROR = "RuntimeError: CUDA error: no kernel image is available for execution on the device"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="what is planted are programs of a POSIX shell")


@pytest.fixture
def trap(tmp_path):
    return Trap(tmp_path / "trap")


def test_the_trap_catches_who_asks_for_what_lies_in_it(installed, trap):
    # Without start-up files: our own modules, which are in the trap too, would be caught first.
    for arguments in (["-S", "-c", "import torch"], ["-c", "import pip"], ["-c", "import rtx50_autoload"]):
        installed.run(*arguments, cwd=trap.folder)
    installed.run("/bin/sh", "-c", "nvcc; uv", cwd=trap.folder, env=leading_here({}))
    caught = {"module torch", "module pip", "module rtx50_autoload", "program nvcc", "program uv"}
    assert caught <= {*trap.sprung}


def test_the_start_of_python_imports_nothing_of_it(installed, trap):
    code = "import sys; print(sys.modules['_rtx50_autoload_importlib_bootstrap'].__file__)"
    said = installed.run_code(code, cwd=trap.folder, env=leading_here({})).stdout
    assert said == f"{installed.site_packages / '_rtx50_autoload_importlib_bootstrap.py'}\n"
    assert not trap.sprung


def test_the_watched_import_runs_nothing_of_it_where_python_does_not_look_there(with_fake_torch, trap, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import torch; print(torch.cuda.get_device_capability())\n")
    variables = {"RTX50_SIMULATE": "12.0", "RTX50_DEBUG": "1", "RTX50_CHECK_INSTALL": "1"}
    result = with_fake_torch.run(with_fake_torch.python, program, cwd=trap.folder, env=leading_here(variables))
    assert result.stdout == "(12, 0)\n", rig.describe(result)
    assert "internal fault" not in result.stderr
    assert not trap.sprung


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--json"),
        ("demo", "--json"),
        ("doctor", "--json"),
        ("scan", "{venv}", "--json"),
        ("check-build", "torch", "--device", "12.0", "--json"),
        ("explain", "{error}", "--json"),
        ("plan", "--json"),
        ("fix",),
        ("incidents", "--json"),
        ("assistants", "--json"),
        ("scripts", "list", "--json"),
        ("troubleshoot", "{error}", "--show-prompt"),
        ("disable",),
        ("enable",),
    ],
    ids=lambda words: words[0],
)
def test_a_command_runs_nothing_of_it(with_fake_torch, trap, tmp_path, arguments):
    error = tmp_path / "error.txt"
    error.write_text(ERROR)
    words = [word.format(venv=with_fake_torch.site_packages, error=error) for word in arguments]
    result = with_fake_torch.run(
        with_fake_torch.script("rtx50-autoload"), *words, cwd=trap.folder, env=leading_here({"RTX50_SIMULATE": "12.0"})
    )
    assert "internal fault" not in result.stderr, rig.describe(result)
    assert result.returncode != 2, rig.describe(result)
    assert not trap.sprung


@pytest.mark.parametrize("call", ["doctor()", "check_install()"])
def test_a_program_that_calls_us_there_runs_nothing_of_it(with_fake_torch, trap, tmp_path, call):
    program = tmp_path / "program.py"
    program.write_text(f"import rtx50_autoload\nprint(rtx50_autoload.{call})\n")
    result = with_fake_torch.run(with_fake_torch.python, program, cwd=trap.folder, env=leading_here({}), check=False)
    assert result.returncode == 0, rig.describe(result)
    assert not trap.sprung


def test_what_a_build_left_is_loaded_without_it(with_fake_torch, trap):
    code = """
        import sys
        sys.path[:] = [place for place in sys.path if place]
        from pathlib import Path
        from rtx50_autoload.evidence.installed import installed_distributions
        from rtx50_autoload.evidence.torch_build import torch_build
        from rtx50_autoload.installer import build_check
        [torch] = [each for each in installed_distributions() if each.name == "torch"]
        print(build_check._undefined_symbol(torch, torch_build(torch)))
    """
    assert with_fake_torch.run_code(code, cwd=trap.folder).stdout == "None\n"
    assert not trap.sprung


def test_a_fix_and_its_way_back_run_nothing_of_it(bench, trap):
    bench.plan(bench.install("six==1.16.0"), verify=True)
    for options in (["--apply", "--yes"], ["--undo", "--yes"]):
        result = bench.venv.run(*bench.arguments(*options), cwd=trap.folder, env=leading_here({}))
        assert result.returncode == 0, rig.describe(result)
        assert bench.version("six") == ("1.16.0" if "--apply" in options else "1.15.0")
    assert not trap.sprung


def test_what_comes_of_a_fix_is_seen_where_it_was_installed(with_fake_torch, trap):
    code = """
        import subprocess, sys
        from rtx50_autoload.own_python import python_command
        import json
        sys.path.insert(1, "/somewhere")
        done = subprocess.run(python_command("import json; print(json.dumps([sys.argv[1:], sys.path]))", "a", "b"),
                              capture_output=True, check=True)
        print(json.dumps([json.loads(done.stdout), sys.path]))
    """
    program = trap.folder.with_name("program.py")
    program.write_text(textwrap.dedent(code))
    result = with_fake_torch.run(with_fake_torch.python, program, cwd=trap.folder, check=True)
    (arguments, there), here = json.loads(result.stdout)
    assert arguments == ["a", "b"]
    assert there[0] == "/somewhere"
    assert str(with_fake_torch.site_packages) in there
    assert {*there} == {*here}
    assert there[-1] == os.fspath(program.parent), "the program's own folder comes last"
    assert os.fspath(trap.folder) not in there
