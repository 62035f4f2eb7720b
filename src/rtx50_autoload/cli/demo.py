"""`demo`: the whole job on a simulated RTX 5090, in child interpreters that import torch and never us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rtx50_autoload.errors import RTX50Error
from rtx50_autoload.own_python import python_command

__all__ = ["run_demo"]

DEVICE = "NVIDIA GeForce RTX 5090:12.0"
#: Module names whose code asks in the demo; the first is the user's own script.
CALLERS = (
    "__main__",
    "xformers.ops.fmha.common",
    "flash_attn.flash_attn_interface",
    "flash_attn.cute.interface",
    "torch._inductor.utils",
    "triton.backends.driver",
    "vllm.platforms.cuda",
    "transformers.utils.import_utils",
)
_PROGRAM = "import runpy; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
_TIME_LIMIT = 300.0  # seconds; a cold `import torch` from a slow disk takes a minute


def run_demo() -> dict[str, Any]:
    """Ask for the capability in the name of each caller, with the masquerade and without it.

    Returns:
        `with` and `without` map each caller to the ``[major, minor]`` that `torch.cuda.get_device_capability` gave it
        (without torch: to what the policy would give it), `properties` holds the same read from the device's
        properties, `reasons` says why, `torch` is its version or None, `active` tells whether the package acts.

    Raises:
        RTX50Error: a child interpreter failed or did not end.

    """
    on, off = _ask("auto"), _ask("observe")
    return {
        "device": DEVICE,
        "torch": on["torch"],
        "active": on["active"],
        "reason": on["reason"],
        "door": on["door"],
        "without": off["capability"],
        "with": on["capability"],
        "properties": {"without": off["properties"], "with": on["properties"]},
        "reasons": on["reasons"],
        "message": on["message"],
    }


def _ask(mode: str) -> dict[str, Any]:
    environment = {
        **{name: value for name, value in os.environ.items() if name != "RTX50_QUIET"},
        "RTX50_SIMULATE": DEVICE,
        "RTX50_MODE": mode,
        "RTX50_CHECK_INSTALL": "0",
    }
    program = Path(__file__).with_name("demo_child.py")
    try:
        child = subprocess.run(  # noqa: S603 - this interpreter and our own program
            python_command(_PROGRAM, str(program), *CALLERS),
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=_TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RTX50Error(f"the child interpreter did not end within {_TIME_LIMIT:.0f} seconds") from error
    if child.returncode:
        last = (child.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise RTX50Error(f"the child interpreter failed ({last}); `{sys.executable} -c 'import torch'` shows it whole")
    answer: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    answer["message"] = [line for line in child.stderr.splitlines() if line.startswith("rtx50-autoload:")]
    return answer
