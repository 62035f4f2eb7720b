"""Run by a test: a program of ours, with a list of all that it creates: `python creations.py LIST PROGRAM...`.

Each line of the list is a path that was opened for writing, made as a folder, linked to or renamed to.
"""

import os
import runpy
import sys

LIST = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
MAKING = {"os.mkdir": 0, "os.link": 1, "os.symlink": 1, "os.rename": 1, "shutil.copyfile": 1, "shutil.move": 1}


def note(event: str, arguments: tuple) -> None:
    path = None
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
        if not writes and not (isinstance(mode, str) and set(mode) & set("wax+")):
            return
    elif event in MAKING:
        path = arguments[MAKING[event]]
    if isinstance(path, (str, bytes, os.PathLike)):
        os.write(LIST, os.fsencode(os.path.abspath(os.fspath(path))) + b"\n")  # noqa: PTH100


if __name__ == "__main__":
    sys.argv[:] = sys.argv[2:]
    sys.addaudithook(note)
    runpy.run_path(sys.argv[0], run_name="__main__")
