"""Files of an environment that are damaged or gone: ours, and those in which distributions tell of themselves."""

from __future__ import annotations

import sys

import pytest

from hostile import FAIL, RUN, Case, copy_of, make_sides

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are those of a POSIX shell")

#: Runs a line of shell in site-packages, before the program or, in the program, before it imports torch.
FIRST = '(cd "$PACKAGES"; {})'
THEN = "import os; os.system('''cd $PACKAGES; {}''')"
OURS = "rtx50_autoload"
HOOK = "_rtx50_autoload_importlib_bootstrap.py"


def first(line, **expected):
    return Case(f"{FIRST.format(line)}; {FAIL}", **expected)


def then(line, **expected):
    return Case(RUN, before=THEN.format(line), **expected)


MOVED = "import os; os.rename(sys.prefix, sys.prefix + '-moved')"
DELETED = "import shutil; shutil.rmtree(sys.prefix)"

#: Files of ours.
OWN = {
    "the package is removed": first(f"rm -rf {OURS}", told=False),
    "the package is removed while the program runs": then(f"rm -rf {OURS}", told=False),
    "all of ours is removed while the program runs": then(f"rm -rf *{OURS}*", told=False),
    "the start-up file is removed": first(f"rm -f {OURS}.pth", noted=True),
    "the record is removed": first(f"rm -f {OURS}-*.dist-info/RECORD", noted=True),
    "the distribution is no longer known": first(f"rm -rf {OURS}-*.dist-info", noted=True),
    "a module ends in its middle": first(f"test -d {OURS} && truncate -s 3000 {OURS}/activation.py", told=False),
    "a module is full of zeros": first(f"test -d {OURS} && head -c 999 /dev/zero > {OURS}/autoloader.py", told=False),
    "a module is empty": first(f"test -d {OURS} && : > {OURS}/activation.py", told=False),
    "a module cannot be decoded": first(rf"test -d {OURS} && printf '\377' > {OURS}/settings.py", told=False),
    "byte code is rubbish": first(
        f"test -d {OURS} && rm -rf $(find {OURS} -name __pycache__) && $PYTHON -m compileall -q {OURS} && "
        f"for file in $(find {OURS} -name '*.pyc'); do truncate -s 20 $file; done",
        told=False,
    ),
    "byte code is of another Python": first(
        f"test -d {OURS} && $PYTHON -m compileall -q {OURS} && "
        rf"for file in $(find {OURS} -name '*.pyc'); do printf 'abcd' | dd of=$file conv=notrunc status=none; done",
        noted=True,
    ),
    "the facts are no TOML": first(
        f"test -d {OURS} && echo '[' > {OURS}/masquerading/profiles.toml", told=False, noted=True
    ),
    "the environment is moved before torch is imported": Case(before=MOVED, told=False),
    "the environment is moved after torch is imported": Case(FAIL, after=MOVED, told=False),
    "the environment is deleted after torch is imported": Case(FAIL, after=DELETED, told=False),
    "a package that ours needs is gone": first("rm -rf packaging* platformdirs*"),
}

ODD = "odd-1.0.dist-info"
NAMED = r"Name: odd\nVersion: 1\n"
TORCH = "torch-2.13.0.dist-info"
XFORMERS = "xformers-0.0.30.dist-info"
RUBBISH = r"head -c 4000 /dev/zero | tr '\\0' '\\376'"

#: What other distributions tell of themselves, made in a folder of PYTHONPATH.
OTHERS = {
    "no METADATA": f"mkdir {ODD}",
    "an empty METADATA": f"mkdir {ODD}; : > {ODD}/METADATA",
    "a METADATA of rubbish": f"mkdir {ODD}; {RUBBISH} > {ODD}/METADATA",
    "a version that is none": f"mkdir {ODD}; printf 'Name: odd\\nVersion: one\\n' > {ODD}/METADATA",
    "a requirement that is none": f"mkdir {ODD}; printf '{NAMED}Requires-Dist: ??\\n' > {ODD}/METADATA",
    "a METADATA that is a folder": f"mkdir -p {ODD}/METADATA",
    "a METADATA that is a loop": f"mkdir {ODD}; ln -s METADATA {ODD}/METADATA",
    "a distribution that is a file": f": > {ODD}",
    "an egg-link to nowhere": "echo /nowhere > odd.egg-link; echo /nowhere > odd.pth",
    "an egg that is a file": ": > odd-1.0-py3.egg",
    "a RECORD of rubbish": f"mkdir {ODD}; printf '{NAMED}' > {ODD}/METADATA; {RUBBISH} > {ODD}/RECORD",
    "a library without METADATA": f"mkdir {XFORMERS}",
    "a library with rubbish as METADATA": f"mkdir {XFORMERS}; {RUBBISH} > {XFORMERS}/METADATA",
    "a library of no version": f"mkdir {XFORMERS}; printf 'Name: xformers\\nVersion: new\\n' > {XFORMERS}/METADATA",
}
#: What a second distribution of torch tells that stands before the first one.
TORCHS = {
    "no METADATA of torch": f"mkdir {TORCH}",
    "rubbish as METADATA of torch": f"mkdir {TORCH}; {RUBBISH} > {TORCH}/METADATA",
    "a version of torch that is none": f"mkdir {TORCH}; printf 'Name: torch\\nVersion: best\\n' > {TORCH}/METADATA",
    "another version of torch": (
        "mkdir torch-2.12.0.dist-info; printf 'Name: torch\\nVersion: 2.12.0\\n' > torch-2.12.0.dist-info/METADATA"
    ),
}
METADATA = {**OTHERS, **TORCHS}
IN_FOLDER = "mkdir {0}; (cd {0}; {1}); export PYTHONPATH=$PWD/{0}; "
COMMANDS = ("status", "doctor", "scan $PACKAGES", "plan", "explain report.txt")


@pytest.fixture
def sides(with_fake_torch, fake_torch_alone, tmp_path):
    return make_sides(with_fake_torch, fake_torch_alone, tmp_path)


@pytest.fixture
def own_sides(with_fake_torch, fake_torch_alone, tmp_path):
    """Environments that the test may break."""
    venvs = (copy_of(venv, tmp_path / name / "v") for venv, name in ((with_fake_torch, "a"), (fake_torch_alone, "b")))
    return make_sides(*venvs, tmp_path)


@pytest.mark.parametrize("case", OWN.values(), ids=OWN)
def test_damaged_files_of_ours_cost_our_help_at_most(own_sides, case):
    own_sides.compare(case)


@pytest.mark.parametrize("what", [OURS, f"{OURS}/activation.py", f"{OURS}.pth"])
def test_files_of_ours_that_may_not_be_read_cost_our_help_at_most(own_sides, as_nobody, what):
    script = (
        FIRST.format(f"test -d {OURS} && chmod 0 {what} && rm -rf {OURS}/__pycache__")
        + f"; {as_nobody} $PYTHON program.py"
    )
    own_sides.compare(Case(script, told=what.endswith(".pth")))


@pytest.mark.parametrize("name", METADATA)
def test_metadata_that_others_have_broken_do_not_keep_the_package_off(sides, name):
    sides.compare(Case(IN_FOLDER.format("odd", METADATA[name]) + RUN))


def commands_are_sound(side, prepare):
    (side.folder / "report.txt").write_text("RuntimeError: CUDA error: no kernel image is available for execution")
    side.run(prepare + "true")
    path = ":".join(map(str, sorted(each for each in side.folder.iterdir() if each.is_dir())))
    for command in COMMANDS:
        done = side.run(f"$PYTHON -m rtx50_autoload {command}", {"PYTHONPATH": path})
        assert "Traceback" not in done.stderr, (command, done)
        assert "internal fault" not in done.stderr, (command, done)
        assert done.code in {0, 1}, (command, done)


def test_commands_read_over_broken_metadata(sides):
    steps = (f"mkdir {number}; (cd {number}; {line}); " for number, line in enumerate(METADATA.values()))
    commands_are_sound(sides.with_us, "".join(steps))


def test_commands_read_over_broken_metadata_of_ours(own_sides):
    commands_are_sound(own_sides.with_us, f"cd $PACKAGES/{OURS}-*.dist-info; {RUBBISH} > RECORD; rm METADATA; ")
