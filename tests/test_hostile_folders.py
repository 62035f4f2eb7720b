"""Folders, variables, streams and limits that fail: the program ends as it does without us, and the package is active.

The device comes from the environment, so a case that clears that does so after torch has been imported.
"""

from __future__ import annotations

import dataclasses
import sys

import pytest

from hostile import FAIL, RUN, Case, Side, make_sides

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these surroundings are those of POSIX")

XDG = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
CONFIG = ".config/rtx50-autoload/config.toml"
STATE = ".local/state/rtx50-autoload"
INCIDENTS = f"{STATE}/incidents"
HERE = f"export HOME=$PWD; {FAIL}"
NO_FILES = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))"
LONG = "/" + "a" * 5000
FOLDERS = {
    # Below /proc root cannot make a folder either.
    "HOME is not there": Case(FAIL, {"HOME": "/proc/nowhere/at/all"}, noted=True),
    "HOME is empty": Case(FAIL, {"HOME": ""}, noted=True),
    "HOME is relative": Case(FAIL, {"HOME": "here"}, noted=True),
    "HOME is a file": Case(FAIL, {"HOME": "/etc/passwd"}, noted=True),
    "HOME is a dangling link": Case(f"ln -s nowhere link; HOME=$PWD/link; {FAIL}", noted=True),
    "HOME is a loop of links": Case(f"ln -s loop loop; HOME=$PWD/loop; {FAIL}", noted=True),
    "HOME is a device": Case(FAIL, {"HOME": "/dev/null"}, noted=True),
    "HOME is not set": Case(f"unset HOME; {FAIL}", noted=True),
    "HOME has undecodable bytes": Case(FAIL, {"HOME": b"/proc/nowhere/\xff\xfe"}, noted=True),
    "HOME has an end of line": Case(FAIL, {"HOME": "/proc/nowhere/a\nb"}, noted=True),
    "HOME is too long": Case(FAIL, {"HOME": LONG}, noted=True),
    "XDG folders are relative": Case(FAIL, dict.fromkeys(XDG, "here"), noted=True),
    "XDG folders are empty": Case(FAIL, dict.fromkeys(XDG, ""), noted=True),
    "XDG folders are a file": Case(FAIL, dict.fromkeys(XDG, "/etc/passwd"), noted=True),
    "XDG folders are a full device": Case(FAIL, dict.fromkeys(XDG, "/dev/full"), noted=True),
    "XDG folders cannot be made": Case(FAIL, dict.fromkeys(XDG, "/proc/nowhere"), noted=True),
    "the state folder is a file": Case(f"mkdir -p .local/state; touch {STATE}; {HERE}", noted=True),
    "the incidents are a file": Case(f"mkdir -p {STATE}; touch {INCIDENTS}; {HERE}", noted=True),
    "the incidents are a pipe": Case(f"mkdir -p {STATE}; mkfifo {INCIDENTS}; {HERE}", noted=True),
    "the lock is a folder": Case(f"mkdir -p {INCIDENTS}/.lock; {HERE}", noted=True),
    "the lock is a pipe": Case(f"mkdir -p {INCIDENTS}; mkfifo {INCIDENTS}/.lock; {HERE}", noted=True),
    "the lock is a dangling link": Case(
        f"mkdir -p {INCIDENTS}; ln -s /nowhere/x {INCIDENTS}/.lock; {HERE}", noted=True
    ),
    "the current folder is deleted": Case(
        "program=$PWD/program.py; mkdir gone; cd gone; rmdir ../gone; exec $PYTHON $program fail", noted=True
    ),
    "the current folder is deleted, and the program comes as text": Case(
        'text=$(cat program.py); mkdir gone; cd gone; rmdir ../gone; exec $PYTHON -c "$text" fail',
        # Python 3.13.0 itself cannot import `socket` there.
        noted=sys.version_info[:2] != (3, 13),
    ),
    "TMPDIR is not there": Case(FAIL, {"TMPDIR": "/nowhere"}, noted=True),
    "TMPDIR is a device": Case(FAIL, {"TMPDIR": "/dev/null"}, noted=True),
    "no file may be written": Case(f"ulimit -f 0; {HERE}", noted=True),
    "files are nobody's to read": Case(f"umask 777; {HERE}", noted=True),
}

SETTINGS = {
    "that are no TOML": ("echo 'mode = [' > {}", "is ignored: it is not TOML"),
    "of other types": ("echo 'mode = 3' > {}", "3, but allowed are"),
    "in UTF-16": (r"printf '\377\376m\000o\000' > {}", "is ignored: it is not UTF-8"),
    "with zeros": ("head -c 1000 /dev/zero > {}", "is ignored: it is not TOML"),
    "of ten megabytes": ("head -c 10000000 /dev/zero > {}", "is ignored: it is larger than"),
    "that are a folder": ("mkdir {}", "is ignored: it cannot be read"),
    "that are a pipe": ("mkfifo {}", "is ignored: it is no regular file"),
    "that are an endless device": ("ln -s /dev/zero {}", "is ignored: it is no regular file"),
    "that are a loop of links": ("ln -s config.toml {}", None),
    "that are a dangling link": ("ln -s nowhere {}", None),
}

VARIABLES = {
    "no variables at all": Case("exec env -i FAKE_TORCH_DEVICES=12.0 $PYTHON program.py fail", noted=True),
    "the variables are cleared": Case(FAIL, after="import os; os.environ.clear()", noted=True),
    "the variables are a plain dictionary": Case(FAIL, before="import os; os.environ = dict(os.environ)", noted=True),
    "os has no variables": Case(FAIL, after="torch.cuda.init(); import os; del os.environ"),
    "os.environ is None": Case(FAIL, after="torch.cuda.init(); import os; os.environ = None"),
    "undecodable settings": Case(
        env={"RTX50_MODE": b"\xff\xfe", "RTX50_DISABLE": b"\xff"}, says=("RTX50_DISABLE is ", "RTX50_MODE is ")
    ),
    "undecodable variables": Case(
        FAIL, dict.fromkeys(("USER", "CUDA_HOME", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"), b"/\xff"), noted=True
    ),
    "a locale that is not there": Case(FAIL, {"LC_ALL": "xx_YY.nonsense"}, noted=True),
    "the locale C without coercion": Case(
        FAIL, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, noted=True
    ),
}

STREAMS = {
    "stdin is closed": Case(f"{FAIL} <&-", noted=True),
    "stdout is closed": Case(f"{FAIL} >&-", told=None, noted=True),
    "stderr is closed": Case(f"{FAIL} 2>&-"),
    "all three are closed": Case(f"{FAIL} <&- >&- 2>&-", told=None),
    "stdout is full": Case(f"{FAIL} >/dev/full", told=None, noted=True),
    "stderr is full": Case(f"{FAIL} 2>/dev/full"),
    "nobody reads stderr": Case(
        "exec 3>&1; { $PYTHON program.py fail 2>&1 >&3; echo $? >&3; } | exec true; exec 3>&-; wait"
    ),
    "sys.stderr is None": Case(FAIL, after="sys.stderr = None"),
    "sys.stderr is deleted": Case(FAIL, after="del sys.stderr"),
    "sys.stderr cannot be written": Case(FAIL, after="sys.stderr = object()"),
    "all streams are None, as in a windowed program": Case(
        FAIL, after="sys.stdin = sys.stderr = sys.__stdin__ = sys.__stdout__ = sys.__stderr__ = None"
    ),
    "ASCII only": Case(FAIL, {"PYTHONIOENCODING": "ascii:strict"}, noted=True),
    "a code page of Windows": Case(FAIL, {"PYTHONIOENCODING": "cp1252:strict"}, noted=True),
}

LIMITS = {
    "twelve open files": Case(f"ulimit -n 12; {FAIL}", noted=True),
    "five open files": Case(f"ulimit -n 5; {FAIL}", noted=True),
    # What nobody can open, the package cannot read: nobody is told anything.
    "no further file, after torch": Case(FAIL, after=NO_FILES, told=False),
    "one process": Case(FAIL, before="import resource; resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))", noted=True),
    "a small stack": Case(f"ulimit -s 256; {FAIL}", noted=True),
    "a low limit of recursion": Case(RUN, before="sys.setrecursionlimit(150)", told=None),
}

CASES = {**FOLDERS, **VARIABLES, **STREAMS, **LIMITS}


@pytest.fixture
def sides(with_fake_torch, fake_torch_alone, tmp_path):
    return make_sides(with_fake_torch, fake_torch_alone, tmp_path)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_program_ends_as_it_does_without_us(sides, case):
    sides.compare(case)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_cannot_be_read_cost_one_line_at_most(sides, name):
    make, problem = SETTINGS[name]
    script = f"mkdir -p .config/rtx50-autoload; {make.format(CONFIG)}; export HOME=$PWD; {RUN}"
    sides.compare(Case(script, says=() if problem is None else (problem,)))


#: A user that the system's list does not know, as in a container that is started with a number of one.
UNKNOWN_USER = {
    "without HOME": Case("unset HOME; {0} $PYTHON program.py fail", noted=True),
    "with somebody else's HOME": Case(
        "mkdir -p h/.config/rtx50-autoload; echo ' = ' > h/.config/rtx50-autoload/config.toml; chmod 0 h; "
        "HOME=$PWD/h {0} $PYTHON program.py fail",
        noted=True,
    ),
    "with a HOME that is read-only": Case("mkdir h; chmod 500 h; HOME=$PWD/h {0} $PYTHON program.py fail", noted=True),
    "with settings that are not to be read": Case(
        "mkdir -p h/.config/rtx50-autoload; touch h/.config/rtx50-autoload/config.toml; "
        "chmod 0 h/.config/rtx50-autoload/config.toml; HOME=$PWD/h {0} $PYTHON program.py",
        says=("is ignored: it cannot be read (Permission denied)",),
    ),
}


@pytest.mark.parametrize("name", UNKNOWN_USER)
def test_a_user_that_nobody_knows_is_helped_as_well(sides, as_nobody, name):
    case = UNKNOWN_USER[name]
    sides.compare(dataclasses.replace(case, script=case.script.format(as_nobody)))


COMMANDS = {
    "status": 0,
    "doctor": 1,
    "scan .": 0,
    "plan": 1,
    "incidents": 1,
    "scripts list": 1,
    "assistants": 1,
    "explain program.py": 2,
    "demo": 0,
    "disable": 0,
    "enable": 0,
    "disable --user": 1,
}


def test_commands_of_a_user_without_a_home_do_what_can_be_done(make_venv, tmp_path, as_nobody):
    side = Side(make_venv(torch="fake"), tmp_path)
    (tmp_path / "program.py").touch()
    for command, code in COMMANDS.items():
        done = side.run(f"unset HOME; {as_nobody} $PYTHON -m rtx50_autoload {command}")
        assert "internal fault" not in done.stderr, done
        assert "Traceback" not in done.stderr, done
        assert done.code == code, (command, done)
        if command in {"incidents", "scripts list", "disable --user"}:
            assert "has no home folder; set HOME" in done.stderr
