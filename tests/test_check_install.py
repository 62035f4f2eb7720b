"""RTX50_CHECK_INSTALL: the check at the first watched import, which never stands in a program's way."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from desk import all_have_ended, wait_for
from fake_distributions import torch_version
from terminal import at_terminal

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    import rig

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in for the check is a program of POSIX")

ON = {"RTX50_CHECK_INSTALL": "1"}
SAID = ["2 things are to be said.", "- torch is too old."]

#: A stand-in for the interpreter that checks. It leaves what it knows of itself in `starts`, and does what the files
#: beside it say: `hang` waits for ever with a process of its own, `hold` waits until the file is gone, `fail` fails,
#: `answer` is printed.
CHECKER = """\
import json, os, subprocess, sys, time
from pathlib import Path

here = Path(__file__).parent
# The program lowers the priority when this has started.
until = time.monotonic() + 10
while os.nice(0) == 0 and time.monotonic() < until:
    time.sleep(0.01)
known = {
    "variable": os.environ["RTX50_CHECK_INSTALL"], "stdin": sys.stdin.read(), "niceness": os.nice(0),
    "leads": os.getsid(0) == os.getpid(), "arguments": sys.argv[1:],
}
with (here / "starts").open("a") as file:
    file.write(json.dumps(known) + "\\n")
if (here / "hang").exists():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (here / "pids").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)
while (here / "hold").exists():
    time.sleep(0.02)
if (here / "fail").exists():
    raise SystemExit(3)
print("a library prints this\\n" + (here / "answer").read_text())
"""


class Checker:
    """The stand-in, and programs whose `sys.executable` it is."""

    def __init__(self, venv: rig.Venv, folder: Path) -> None:
        self.venv, self.folder = venv, folder
        self.program = folder / "checker"
        self.program.write_text(f"#!{sys.executable} -I\n{CHECKER}")
        self.program.chmod(0o755)
        (folder / "answer").write_text(json.dumps(SAID))

    def put(self, name: str) -> Path:
        """Make it do what a file stands for."""
        (self.folder / name).touch()
        return self.folder / name

    @property
    def starts(self) -> list[dict[str, object]]:
        """What each start of it has left."""
        file = self.folder / "starts"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def code(self, code: str) -> str:
        preamble = f"import os, sys, threading; folder = {str(self.folder)!r}; sys.executable = {str(self.program)!r}\n"
        return preamble + textwrap.dedent(code)

    def run(self, code: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program that knows `folder`; it has to end with 0."""
        return self.venv.run_code(self.code(code), *options, env={**ON, **variables})


@pytest.fixture
def checker(with_fake_torch, tmp_path):
    return Checker(with_fake_torch, tmp_path)


def lines(texts=SAID):
    return "".join(f"rtx50-autoload: {text}\n" for text in texts)


#: Waits until all is said.
WAIT = """
while any(thread.name == "rtx50-autoload check" for thread in threading.enumerate()):
    threading.Event().wait(0.02)
"""
FAULTS = "import _rtx50_autoload_importlib_bootstrap as hook; print([str(fault) for fault in hook.faults])\n"


@pytest.mark.parametrize("variables", [{}, {"RTX50_CHECK_INSTALL": "0"}], ids=str)
def test_without_the_variable_nothing_of_it_is_loaded(with_fake_torch, variables):
    code = "import sys, torch; print([name for name in sys.modules if 'check' in name and 'rtx50' in name])"
    result = with_fake_torch.run_code(code, env=variables)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_a_summary_of_the_environment_comes_on_stderr(make_venv):
    venv = make_venv(torch="fake")
    version = venv.site_packages / "torch" / "version.py"
    version.unlink()
    version.write_text(torch_version("12.4", "2.5.1"))
    (venv.site_packages / "torch-2.13.0.dist-info").rename(venv.site_packages / "torch-2.5.1.dist-info")
    metadata = venv.site_packages / "torch-2.5.1.dist-info" / "METADATA"
    metadata.unlink()
    metadata.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.5.1\n")
    result = venv.run_code("import torch\n", env={**ON, "RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"})
    assert result.stdout == ""
    said = [line.removeprefix("rtx50-autoload: ") for line in result.stderr.splitlines()]
    assert result.stderr == lines(said)
    assert 3 <= len(said) <= 8
    assert "found in this environment." in said[0]
    assert any("torch" in line for line in said[1:4])
    assert said[-1].startswith("All of it: rtx50-autoload ")


def test_the_import_does_not_wait_for_it(checker):
    checker.put("hold")
    result = checker.run("import torch; print('imported'); os.remove(folder + '/hold')\n" + WAIT + "print('ended')")
    assert (result.stdout, result.stderr) == ("imported\nended\n", lines())


@pytest.mark.parametrize("module", ["torch", "xformers", "flash_attn"])
def test_it_starts_once_at_the_first_watched_import(checker, module, tmp_path):
    for name in ("xformers", "flash_attn"):
        (tmp_path / f"{name}.py").touch()
    code = f"""
        sys.path.append(folder)
        import {module}, torch, xformers, flash_attn, rtx50_autoload
        rtx50_autoload.deactivate()
        rtx50_autoload.activate()
    """
    assert checker.run(code).stderr == lines()
    [start] = checker.starts
    assert start | {"arguments": None} == {
        "variable": "0",
        "stdin": "",
        "niceness": min(os.nice(0) + 10, 19),
        "leads": True,
        "arguments": None,
    }
    assert start["arguments"][0] == "-I"


@pytest.mark.parametrize("variables", [{"RTX50_QUIET": "1"}, {"RTX50_DISABLE": "1"}, {"RANK": "1"}], ids=str)
def test_it_does_not_start_where_nobody_is_to_hear_of_it(checker, variables):
    result = checker.run("import torch; print(os.environ['RTX50_CHECK_INSTALL'])", **variables)
    assert (result.stdout, result.stderr, checker.starts) == ("1\n", "", [])


def test_a_job_hears_of_it_once(checker, tmp_path):
    """Processes that the program starts do not check again, in whatever way it starts them."""
    (tmp_path / "work.py").write_text("def work(number):\n    import torch\n    return number\n")
    code = f"""
        import multiprocessing, subprocess
        sys.path.append(folder)
        from work import work
        if __name__ == "__main__":
            import torch
            program = "import sys; sys.executable = sys.argv[1]; import torch"
            subprocess.run([{str(checker.venv.python)!r}, "-c", program, sys.executable], check=True)
            if os.fork() == 0:
                work(1)
                sys.exit()
            os.wait()
            multiprocessing.set_executable({str(checker.venv.python)!r})
            for method in ("fork", "spawn", "forkserver"):
                with multiprocessing.get_context(method).Pool(1) as pool:
                    assert pool.map(work, [1]) == [1]
    """
    main = tmp_path / "main.py"
    main.write_text(checker.code(code))
    result = checker.venv.run(checker.venv.python, main, env=ON, check=True)
    assert result.stderr == lines()
    assert len(checker.starts) == 1


def test_a_settings_file_asks_for_it_once_in_a_job_too(checker, tmp_path):
    folder = tmp_path / "config" / "rtx50-autoload"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("check_install = true\n")
    python = str(checker.venv.python)
    code = checker.code("""
        import torch, subprocess
        program = "import sys; sys.executable = sys.argv[1]; import torch"
        subprocess.run([sys.argv[1], "-c", program, sys.executable], check=True)
    """)
    result = checker.venv.run("-c", code, python, env={"XDG_CONFIG_HOME": str(tmp_path / "config")}, check=True)
    assert result.stderr == lines()
    assert len(checker.starts) == 1


@pytest.mark.parametrize("ending", ["", "sys.exit(7)", "raise ValueError('mine')", "os._exit(7)"])
def test_a_program_ends_as_it_would_and_at_its_end_hears_what_was_found(checker, ending):
    result = checker.venv.run("-c", checker.code(f"import torch\n{ending}"), env=ON)
    without = checker.venv.run("-c", checker.code(f"import torch\n{ending}"))
    assert (result.returncode, result.stdout) == (without.returncode, without.stdout)
    # It comes while the program runs, or at its end.
    said = [line for line in result.stderr.splitlines(keepends=True) if line.startswith("rtx50-autoload: ")]
    assert "".join(said) == lines() or "_exit" in ending
    assert "".join(line for line in result.stderr.splitlines(keepends=True) if line not in said) == without.stderr


def test_a_check_that_hangs_does_not_hold_a_program_for_long(checker):
    checker.put("hang")
    result = checker.venv.run("-c", checker.code("import torch; sys.exit(7)"), env=ON)
    assert (result.returncode, result.stderr) == (7, "")
    assert all_have_ended(checker.folder)


def test_ctrl_c_ends_the_waiting(checker):
    checker.put("hang")
    result = checker.run("""
        import atexit, signal, torch
        from pathlib import Path
        from rtx50_autoload import check_at_import
        check_at_import._PATIENCE = 600
        ends = threading.Event()

        def press():
            ends.wait()
            while not (Path(folder, "pids").exists() and Path(folder, "pids").read_text()):
                ends.wait(0.02)
            threading.Event().wait(0.3)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=press, daemon=True).start()
        # It runs before what was registered earlier.
        atexit.register(ends.set)
    """)
    assert result.stderr == ""
    assert all_have_ended(checker.folder)


def test_at_a_terminal_one_line_says_what_is_waited_for(checker):
    checker.put("hang")
    code = checker.code("import torch; print('done')")
    with at_terminal(checker.venv, checker.venv.python, "-c", code, env=ON) as terminal:
        terminal.expect("waiting up to 20 s for RTX50_CHECK_INSTALL; Ctrl+C ends it.")
        wait_for(checker.folder / "pids")
        terminal.type("\x03")
        assert terminal.end() == 0
    assert terminal.screen.count("rtx50-autoload: ") == 1
    assert "Traceback" not in terminal.screen
    assert all_have_ended(checker.folder)


def test_a_program_may_fork_meanwhile(checker):
    """Nor is it warned of anything: Python 3.12 and later warn of a fork beside a thread."""
    checker.put("hold")
    code = """
        import torch
        for end in (os._exit, sys.exit):
            child = os.fork()
            if child == 0:
                if os.fork() == 0:
                    os._exit(0)
                end(os.wait()[1] + threading.active_count() - 1)
            assert os.waitpid(child, 0)[1] == 0
        os.remove(folder + "/hold")
        # From Python 3.13 on it is said at the end.
    """
    result = checker.run(textwrap.dedent(code) + WAIT, "-X", "dev")
    assert (result.stdout, result.stderr) == ("", lines())


def test_what_was_found_is_said_also_while_a_program_forks_again_and_again(checker):
    code = f"""
        import io
        sys.stderr = io.StringIO()
        import torch
        while {SAID[-1]!r} not in sys.stderr.getvalue():
            if os.fork() == 0:
                os._exit(0)
            os.wait()
            threading.Event().wait(0.05)
        print(sys.stderr.getvalue(), end="")
    """
    result = checker.run(code)
    assert (result.stdout, result.stderr) == (lines(), "")


SLOW = """
    class Slow:
        def write(self, text):
            threading.Event().wait(0.5)
            return len(text)
        def flush(self):
            sys.__stderr__.write("")
    sys.stderr = Slow()
"""
FULL = """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 65536)
    except BlockingIOError:
        pass
    try:
        while True:
            os.write(writer, b"x")
    except BlockingIOError:
        pass
    os.set_blocking(writer, True)
    os.dup2(writer, 2)
"""


@pytest.mark.parametrize(
    "stderr", [SLOW, FULL, "sys.stderr = None", "sys.stderr.close()"], ids=["slow", "full", "none", "closed"]
)
def test_a_program_ends_cleanly_whatever_its_stderr_is(checker, stderr):
    hurry = "from rtx50_autoload import check_at_import; check_at_import._PATIENCE = 1"
    code = f"{textwrap.dedent(stderr)}\nimport torch\n{hurry}\nprint('done')"
    result = checker.venv.run("-c", checker.code(code), env=ON)
    assert (result.returncode, result.stdout) == (0, "done\n")
    assert "rror" not in result.stderr


@pytest.mark.parametrize(
    ("trouble", "fault"),
    [
        ("sys.executable = folder + '/answer'", "Permission denied"),
        ("sys.executable = folder + '/nothing'", "No such file"),
        ("import subprocess; subprocess.Popen = None", "not callable"),
        ("threading.Thread.start = lambda self: (_ for _ in ()).throw(RuntimeError('no thread'))", "no thread"),
    ],
)
def test_where_it_cannot_be_started_the_import_goes_on_and_the_fault_is_kept(checker, trouble, fault):
    result = checker.run(f"{trouble}\nimport torch\n{FAULTS}")
    assert fault in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("trouble", ["sys.executable = None", "sys.executable = ''", "sys.frozen = True"])
def test_an_application_that_has_python_inside_is_not_started_again(checker, trouble):
    result = checker.run(f"{trouble}\nimport torch\n{FAULTS}")
    assert (result.stdout, result.stderr, checker.starts) == ("[]\n", "", [])


@pytest.mark.parametrize(("name", "fault"), [("fail", "the check ended with 3"), ("answer", "Expecting value")])
def test_a_check_that_fails_says_nothing_and_its_fault_is_kept(checker, name, fault):
    (checker.folder / name).write_text("no answer")
    result = checker.run("import torch\n" + WAIT + FAULTS)
    assert fault in result.stdout
    assert result.stderr == ""
    assert fault in checker.run("import torch\n" + WAIT, RTX50_DEBUG="1").stderr


def test_a_subinterpreter_goes_on_without_it(checker):
    # The counter of lines is an extension module that not every subinterpreter may load.
    checker.venv = replace(checker.venv, coverage=False)
    inner = checker.code("import torch; open(folder + '/imported', 'w').close()")
    checker.run(f"""
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        interpreter = interpreters.create()
        failure = interpreters.run_string(interpreter, {inner!r})
        assert not failure, failure
        interpreters.destroy(interpreter)
    """)
    assert (checker.folder / "imported").exists()


def test_the_programs_own_folder_and_its_settings_of_python_are_nothing_to_the_check(checker):
    (checker.folder / "importlib_metadata.py").write_text("raise SystemExit('the program has one of its own')")
    result = checker.venv.run_code("import torch", cwd=checker.folder, env={**ON, "PYTHONWARNINGS": "error"})
    assert "found in this environment." in result.stderr


def test_the_demo_does_not_check(with_fake_torch):
    result = with_fake_torch.run("-m", "rtx50_autoload", "demo", "--json", env=ON)
    with contextlib.suppress(ValueError):
        assert not [line for line in json.loads(result.stdout)["message"] if "CHECK_INSTALL" in line]
    assert "CHECK_INSTALL" not in result.stdout + result.stderr
