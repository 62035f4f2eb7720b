"""A folder that somebody changes into, full of what has the name of something that a program may look for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Modules of the standard library, of this package, of what it needs and of what it examines.
MODULES = (
    "_rtx50_autoload_importlib_bootstrap", "_rtx50_autoload_importlib_bootstrap_watching", "anyio", "argparse", "ast",
    "csv", "ctypes", "dataclasses", "filelock", "flash_attn", "importlib_metadata", "json", "mcp", "numpy",
    "packaging", "pip", "platformdirs", "re", "rich", "rtx50_autoload", "runpy", "setuptools", "subprocess",
    "tempfile", "tomli", "tomllib", "torch", "triton", "typing", "urllib", "wheel", "xformers", "zipp",
)  # fmt: skip
#: Programs that are asked for their versions, that install, that are assistants, or that those would start.
PROGRAMS = (
    "aider", "amazonq", "bash", "claude", "cl", "clang", "codex", "conda", "copilot", "cursor-agent", "g++", "gcc",
    "gemini", "git",
    "goose", "ldconfig", "llm", "lms", "ninja", "node", "nvcc", "nvidia-smi", "ollama", "opencode", "pip", "powershell",
    "pwsh", "python", "python3", "q", "qwen", "rtx50-autoload", "sh", "shellcheck", "sudo", "taskkill", "uv",
)  # fmt: skip


@dataclass
class Trap:
    """Such a folder; what is run or imported from it writes its name down."""

    folder: Path
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder.with_name(self.folder.name + ".log")
        self.folder.mkdir()
        for name in MODULES:
            package = self.folder / name
            package.mkdir()
            (package / "__init__.py").write_text(f"open({str(self.log)!r}, 'a').write('module {name}\\n')\n")
            (package / "__main__.py").write_text("")
        for name in PROGRAMS:
            program = self.folder / name
            if not program.exists():
                self.plant(program)
        # Either would be an error for uv, which reads such files where it is started.
        (self.folder / "uv.toml").write_text("not TOML")
        (self.folder / "pyproject.toml").write_text("not TOML")

    def plant(self, program: Path) -> Path:
        """Write a program that says that it was run."""
        program.write_text(f"#!/bin/sh\necho program {program.name} >> '{self.log}'\n")
        program.chmod(0o755)
        return program

    @property
    def sprung(self) -> list[str]:
        """What was run or imported, in that order."""
        return self.log.read_text().splitlines() if self.log.exists() else []


def leading_here(environment: dict[str, str]) -> dict[str, str]:
    """Give variables with a PATH that leads to the working directory, in all three ways."""
    return {**environment, "PATH": os.pathsep.join(["", ".", "./", "/usr/bin", "/bin"])}
