"""Runs one program again and again, each time with another fault of ours: `main()` in a Python without `site`.

It reads a JSON object from stdin: `program`, `environment`, `sources` (module names), `cache` (a folder for planted
byte code), `home` (a folder to make homes in), `path` (folders of libraries), `time_limit`. Then, line by line, it
reads what to do and answers with one line: ``{"variables": {...}, "place": …, "error": …, "also": …, "record": bool}``
gives ``{"stdout": …, "stderr": …, "returncode": …, "places": [...]}``; `returncode` is null where the time limit was
reached. `also` is a place where an error is raised whatever else happens.

Each run is a fork of this process, taken before `site` has run: the start-up file, the program, the exception hooks
and the interpreter's end all run in it, as they do in an interpreter of its own.
"""

from __future__ import annotations

import _frozen_importlib_external as external
import builtins
import contextlib
import importlib
import json
import marshal
import os
import select
import shutil
import signal
import sys
import tempfile
from typing import Any

from fault_planting import CALL, plant

#: Not asyncio, whose arrival is something that the package acts on.
PRELOADED = (
    *("argparse", "ast", "contextlib", "contextvars", "copy", "csv", "ctypes.util", "dataclasses", "datetime"),
    *("email.parser", "functools", "hashlib", "importlib.metadata", "importlib.resources", "inspect", "locale"),
    *("logging", "platform", "secrets", "shlex", "subprocess", "textwrap", "threading", "traceback", "types", "uuid"),
    "zipfile",
)
ERRORS = {kind.__name__: kind for kind in (Exception, OSError, MemoryError, RecursionError, KeyboardInterrupt)}


def main() -> None:
    """Answer the requests on stdin; the forked children go on as the program."""
    preload()
    sys.path[:] = ["", *(folder for folder in sys.path if folder not in {"", os.path.dirname(__file__)})]
    setup = json.loads(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        answer = run(setup, request)
        if answer is None:  # the child
            answers.close()
            run_program(setup, request)
            return
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def run(setup: dict[str, Any], request: dict[str, Any]) -> dict[str, Any] | None:
    """Fork, and give what the child has said; None in the child."""
    folder = tempfile.mkdtemp(dir=setup["home"])
    files = {name: os.path.join(folder, name) for name in ("stdout", "stderr", "places")}
    descriptors = {name: os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND) for name, path in files.items()}
    child = os.fork()
    if child == 0:
        os.setsid()
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(descriptors["stdout"], 1)
        os.dup2(descriptors["stderr"], 2)
        request["record"] = descriptors["places"] if request.get("record") else None
        home = os.path.join(folder, "home")
        os.mkdir(home)
        os.environ.update({"HOME": home, "XDG_STATE_HOME": os.path.join(home, "state"), **setup["environment"]})
        os.environ.update(request.get("variables") or {})
        if os.environ.get("RTX50_TESTS_UNWRITABLE"):
            with open(os.environ["XDG_STATE_HOME"], "w"):  # a file in the place of the folder
                pass
        os.chdir(home)
        return None
    returncode = wait(child, setup["time_limit"])
    said = {}
    for name, descriptor in descriptors.items():
        os.close(descriptor)
        with open(files[name], encoding="utf-8", errors="replace") as stream:
            said[name] = stream.read().replace(folder, "FOLDER")
    shutil.rmtree(folder, ignore_errors=True)
    return {**said, "places": list(dict.fromkeys(said["places"].splitlines())), "returncode": returncode}


def wait(child: int, limit: float) -> int | None:
    """Wait for a child; None where it has to be killed."""
    descriptor = os.pidfd_open(child)
    try:
        in_time = bool(select.select([descriptor], [], [], limit)[0])
    finally:
        os.close(descriptor)
    if not in_time:
        os.killpg(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it has left running
    return status if in_time else None


def arm(request: dict[str, Any], setup: dict[str, Any]) -> None:
    """Make the places work, in the child: record them, and raise at the one that was asked for."""
    wanted, kind = request.get("place"), ERRORS.get(request.get("error") or "")
    record, also = request["record"], request.get("also")
    write, seen = os.write, set()

    def place(name: str) -> None:
        if record is not None and name not in seen:
            seen.add(name)
            write(record, (name + "\n").encode())
        if name == also:
            raise ERRORS["Exception"]("planted by the test, first")
        if name == wanted:
            raise kind("planted by the test")

    setattr(builtins, CALL, place)
    sources, cache = setup["sources"], setup["cache"]
    usual = external.SourceFileLoader.get_code

    def get_code(self: Any, name: str) -> Any:
        if name not in sources:
            return usual(self, name)
        return planted(name, self.path, cache)

    external.SourceFileLoader.get_code = get_code


def planted(name: str, path: str, cache: str) -> Any:
    """Give the planted code of a module, compiled once for all runs."""
    kept = os.path.join(cache, name)
    try:
        with open(kept, "rb") as stream:
            return marshal.loads(stream.read())  # noqa: S302 - written below
    except OSError:
        with open(path, encoding="utf-8") as stream:
            tree = plant(stream.read(), name)
    code = compile(tree, path, "exec", dont_inherit=True)
    draft = f"{kept}.{os.getpid()}"
    with open(draft, "wb") as stream:
        stream.write(marshal.dumps(code))
    os.replace(draft, kept)
    return code


def run_program(setup: dict[str, Any], request: dict[str, Any]) -> None:
    """Start as an interpreter does, with the start-up files, and run the program as its `__main__`."""
    import site  # noqa: PLC0415 - as Python does, when the places work

    arm(request, setup)
    site.main()
    sys.path[1:1] = setup["path"]
    sys.argv = ["program"]
    exec(compile(setup["program"], "program.py", "exec", dont_inherit=True), vars(sys.modules["__main__"]))  # noqa: S102 - the test's program


def preload() -> None:
    """Import what the package and the programs import of the standard library, once for all children."""
    for name in PRELOADED:
        importlib.import_module(name)
