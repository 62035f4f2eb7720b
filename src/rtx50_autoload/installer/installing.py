"""The steps that install torch, what is compiled for it, and libraries on top; and the look whether it works."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.environment.torch_builds import cuda_of
from rtx50_autoload.installer.commanding import again_options, pip_command, type_command, way_back
from rtx50_autoload.installer.family import CPU
from rtx50_autoload.installer.plan import Change
from rtx50_autoload.installer.wording import Wording, gpu_names, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.installer.choice import Choice
    from rtx50_autoload.installer.family import Pin
    from rtx50_autoload.installer.machine import Machine
    from rtx50_autoload.installer.plan import Command, Step, Unsolved

__all__ = ["check_step", "left_out_gpus", "library_step", "space_problem", "torch_step"]

_SHOW_CODE: Final = "import torch; print(torch.__version__, torch.cuda.get_arch_list())"
_COMPUTE: Final = "import torch; print(torch.ones(2, device='cuda') * 2)"
_GIB: Final = 2**30


def torch_step(machine: Machine, choice: Choice, pins: Sequence[Pin], code: Capability | None) -> Step:
    """Exchange torch and what is compiled for it, in one command and from one index.

    Args:
        machine: where.
        choice: what is chosen, and why.
        pins: those of the choice that come from its index.
        code: what of the code in it the first GPU runs, 12.0 for a GPU of 12.1.

    """
    assert choice.index  # noqa: S101 - there are no pins without one
    reasons = choice.reasons[: len(choice.reasons) - len(choice.leaves)]
    words = {
        "installs": listed([f"{pin.package} {pin.version}" for pin in pins]),
        "torch": choice.torch,
        "cuda": _cuda(choice),
        "reason": " ".join(reasons),
        "arch": f"sm_{code[0]}{code[1]}" if code else "the architecture of your GPU",
        "torch_check": Wording(machine).python("-c", _SHOW_CODE),
        "pip_show": type_command(machine, pip_command(machine, "show", pins[0].package)),
    }
    command = pip_command(
        machine, "install", *(f"{pin.package}=={pin.exact}" for pin in pins), "--index-url", choice.index
    )
    facts = [*(["single"] if len(pins) == 1 else []), *(["cpu"] if choice.variant == CPU else [])]
    step = _install(machine, "install-torch", words, command, pins, facts)
    # Of torch with all that it requires; next to it, the others are small.
    return replace(step, download=choice.download if pins[0].package == "torch" else None)


def library_step(machine: Machine, choice: Choice, pin: Pin) -> Step:
    """Exchange one package on top of torch, held to that torch."""
    where = ("--index-url", pin.index) if pin.index else ()
    installed = machine.packages.get(pin.package)
    if installed and installed.version == pin.version:
        # In another build, which pip and uv take for what is there already.
        more = again_options(machine, pin.package)
    else:
        # Else its requirements might bring another torch.
        more = () if pin.package == "numpy" else (f"torch=={choice.torch}",)
    command = pip_command(machine, "install", f"{pin.package}=={pin.exact}", *more, *where)
    words = {
        "package": pin.package,
        "after": pin.exact,
        "torch": f"{choice.torch}+{choice.variant}" if choice.variant else choice.torch,
        "cuda": _cuda(choice),
        "pip_show": type_command(machine, pip_command(machine, "show", pin.package)),
    }
    facts = ("exchange",) if installed else ()
    step = _install(machine, "install-library", words, command, (pin,), (pin.package, *facts))
    return replace(step, id=f"install-{pin.package}")


def check_step(machine: Machine) -> Step:
    """Look whether it works."""
    is_here = "rtx50-autoload" in machine.packages
    words = ("-m", "rtx50_autoload", "doctor", "--probe") if is_here else ("-c", _COMPUTE)
    wording = Wording(machine)
    return wording.step("check", {"check_command": wording.python(*words)}, () if is_here else ("foreign",))


def left_out_gpus(machine: Machine, choice: Choice) -> Unsolved:
    """Say which GPUs are left out."""
    words = {
        "served": gpu_names(choice.serves),
        "left_out": gpu_names(choice.leaves),
        "why": " ".join(choice.reasons[len(choice.reasons) - len(choice.leaves) :]),
    }
    numbers = [str(at) for at, gpu in enumerate(machine.gpus) if gpu in choice.serves]
    words["visible"] = f"CUDA_VISIBLE_DEVICES={','.join(numbers)}"
    return Wording(machine).unsolved("gpu-left-out", words)


def space_problem(machine: Machine, choice: Choice) -> Unsolved | None:
    """Say that torch is known not to fit on the disk, packed and unpacked; None where it fits, or nothing is known."""
    free, needed = machine.free_disk, (choice.download or 0) + (choice.installed or 0)
    if free is None or free >= needed or not any(pin.package == "torch" for pin in choice.pins):
        return None
    sizes = {"free": free, "installed": choice.installed or 0, "download": choice.download or 0}
    words = {name: f"{size / _GIB:.1f}" for name, size in sizes.items()}
    return Wording(machine).unsolved("disk-too-small", {"torch": choice.torch, **words})


def _install(  # noqa: PLR0913, PLR0917 - a step has that many parts
    machine: Machine,
    texts: str,
    words: Mapping[str, str],
    command: Command,
    pins: Sequence[Pin],
    facts: Sequence[str],
) -> Step:
    before = [(pin.package, machine.packages.get(pin.package)) for pin in pins]
    changes = tuple(
        Change(pin.package, str(old) if old else None, pin.exact) for pin, (_, old) in zip(pins, before, strict=True)
    )
    step = Wording(machine).step(texts, {**words, "back_command": way_back(machine, before)}, facts)
    return replace(step, commands=(command,), changes=changes)


def _cuda(choice: Choice) -> str:
    cuda = cuda_of(choice.variant)
    return f"{cuda[0]}.{cuda[1]}" if cuda else "(not known)"
