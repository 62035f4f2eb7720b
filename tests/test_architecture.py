"""The house as docs/design.md draws it: rooms import downwards only, in no circles, and files stay small."""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from functools import cache
from typing import TYPE_CHECKING

import pytest

import pages
import rig

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = rig.ROOT / "src"
PACKAGE = SOURCE / "rtx50_autoload"
#: The face names what others hold, and loads it when it is used; `__main__` is how Python runs the command line.
FACE = {"rtx50_autoload", "rtx50_autoload.__main__"}

#: Lines of a file. More makes a file that knows two things.
MOST_LINES = 400
#: Files with more, and why they are one.
LONG_FILES = {
    "rtx50_autoload/evidence/probe_child.py": "one program, which a child runs by its path",
}

#: What is installed with the package, and what is not: imported only where it is there.
REQUIRED = {"filelock", "importlib_metadata", "packaging", "platformdirs", "rich", "tomli"}
OPTIONAL = {
    "torch": "the user's own",
    "triton": "the user's own",
    "xformers": "the user's own",
    "flash_attn": "the user's own",
    "bitsandbytes": "the user's own",
    "ray": "the extra `fleet`",
    "mcp": "the extra `mcp`",
    "pydantic": "comes with mcp",
    "anyio": "comes with mcp",
    "matplotlib": "the extra `plot`",
    "shtab": "the extra `completion`",
}


@cache
def modules() -> dict[str, Path]:
    """Give every module of ours by its name."""
    named = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


class Imports(ast.NodeVisitor):
    """The modules that one imports when it runs, in its functions too; what only types need is left out."""

    def __init__(self, module: str, path: Path) -> None:
        self.package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        self.found: dict[str, int] = {}
        self.visit(ast.parse(path.read_text(encoding="utf-8")))

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" in ast.unparse(node.test):
            for each in node.orelse:
                self.visit(each)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for each in node.names:
            self.found.setdefault(each.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = self.package.rsplit(".", node.level - 1)[0] if node.level else ""
        base = ".".join(filter(None, (above, node.module)))
        for each in node.names:
            name = f"{base}.{each.name}"
            self.found.setdefault(name if name in modules() else base, node.lineno)


@cache
def imports() -> dict[str, dict[str, int]]:
    """Give, for each module of ours, the modules that it imports, each with the line."""
    return {name: Imports(name, path).found for name, path in modules().items()}


@cache
def rooms() -> dict[str, int]:
    """Read the map: for each room or module by itself how high it stands, the lowest being 0."""
    (text,) = (block.text for block in pages.blocks() if block.page == "docs/design.md" and "__init__.py" in block.text)
    lines = [line for line in text.split("\n") if not line.startswith(" ")]
    heights = {}
    for height, line in enumerate(reversed(lines)):
        first = re.split(r"  | (?=[a-z]+ )", line, maxsplit=1)[0]
        for name in [*first.split(", "), *re.findall(r"\b(\w+\.py)\b", line)]:
            heights[name.rstrip("/").removesuffix(".py")] = height
    return heights


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "rtx50_autoload" and len(parts) > 1 else "__init__" if module in FACE else parts[0]


def test_the_map_has_every_room_and_no_other():
    assert {*rooms()} - {"__init__"} == {room(name) for name in modules() if name not in FACE}


def test_a_room_imports_only_from_rooms_below_it():
    upwards = [
        f"{name}:{line} imports {imported}"
        for name, found in imports().items()
        for imported, line in found.items()
        if name not in FACE and imported in modules() and room(imported) != room(name)
        if rooms()[room(imported)] > rooms()[room(name)]
    ]
    assert not upwards


def test_no_modules_import_each_other_in_a_circle():
    # Takes away, again and again, what imports nothing that is left.
    left = {name: {each for each in found if each in modules()} - FACE for name, found in imports().items()}
    for name in FACE:
        del left[name]
    while free := {name for name, found in left.items() if not found & {*left}}:
        left = {name: found for name, found in left.items() if name not in free}
    assert not left


def test_nothing_is_imported_but_the_library_and_what_is_declared():
    # Python 3.10, where `tomli` stands in for it, does not know of the last one.
    library = sys.stdlib_module_names | {"tomllib"}
    own = {name.split(".")[0] for name in modules()}
    foreign = {
        imported.split(".")[0]: f"{name}:{line}"
        for name, found in imports().items()
        for imported, line in found.items()
    }
    assert foreign.keys() - own - library == REQUIRED | {*OPTIONAL}, foreign


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_a_file_is_short_or_says_why_not(path):
    with tokenize.open(path) as file:
        lines = len(file.readlines())
    assert (lines > MOST_LINES) == (path.relative_to(SOURCE).as_posix() in LONG_FILES), lines
