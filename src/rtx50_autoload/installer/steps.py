"""The steps that prepare, install and look; those that build are in `builds`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.environment.torch_builds import cuda_of, newest_driver
from rtx50_autoload.installer.commanding import again_options, pip_command, type_command, type_line, way_back
from rtx50_autoload.installer.plan import Change, Step, Unsolved
from rtx50_autoload.installer.texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.diagnosis.situation import Gpu
    from rtx50_autoload.installer.choice import Choice
    from rtx50_autoload.installer.family import Pin
    from rtx50_autoload.installer.machine import Machine
    from rtx50_autoload.installer.plan import Command

__all__ = ["ENVIRONMENT", "Steps", "gpu_names", "listed"]

#: The folder of a new environment, in the current one.
ENVIRONMENT: Final = "rtx50-venv"
_SHOW_CODE: Final = "import torch; print(torch.__version__, torch.cuda.get_arch_list())"
_COMPUTE: Final = "import torch; print(torch.ones(2, device='cuda') * 2)"


def gpu_names(gpus: Sequence[Gpu]) -> str:
    """Name GPUs in a sentence, each kind once."""
    names = dict.fromkeys(gpu.name or "the GPU" for gpu in gpus)
    return " and ".join(names) or "the GPU"


class Steps:
    """Makes the steps for one machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.facts: set[str] = {machine.system, machine.kind, machine.installer}
        if machine.container:
            self.facts |= {"container", machine.container}
        self.words = {
            "gpu": gpu_names(machine.gpus),
            "driver": machine.driver or "",
            "python": machine.python,
            "python_command": type_line(machine, machine.executable),
        }

    def driver(self, needed: int | None, reason: str) -> Step:
        """Install the driver, or a newer one where there is one; a person has to."""
        identifier = "update-driver" if self.machine.driver else "install-driver"
        return self._step(identifier, {"needed_driver": str(needed or newest_driver()), "reason": reason})

    def container(self) -> Step:
        """Hand the GPU into the container."""
        return self._step("give-container-gpu", {})

    def environment(self, new: Machine) -> Step:
        """Make an environment of its own.

        Args:
            new: the machine with that environment in the place of the present one.

        """
        machine, is_other = self.machine, new.python != self.machine.python
        if machine.installer == "uv":
            words: tuple[str, ...] = ("uv", "venv", "--python", new.python if is_other else machine.executable)
        elif is_other:
            launcher = ("py", f"-{new.python}") if machine.system == "windows" else (f"python{new.python}",)
            words = (*launcher, "-m", "venv")
        else:
            words = (machine.executable, "-m", "venv")
        return self._step(
            "new-environment",
            {
                "environment": ENVIRONMENT,
                "make_environment": type_line(machine, *words, ENVIRONMENT),
                "new_python": type_line(machine, new.executable),
                "new_version": new.python,
            },
            facts=("other-python",) if is_other else (),
        )

    def pip(self) -> Step:
        """Install pip."""
        return self._step("install-pip", {"ensure_pip": self._python("-m", "ensurepip")})

    def remove_hiding_torch(self) -> Step:
        """Remove the torch that hides another one."""
        before, after = self.machine.packages["torch"], self.machine.hidden["torch"]
        names = [
            name
            for name in ("torch", "torchvision", "torchaudio")
            if name in self.machine.packages and name in self.machine.hidden
        ]
        changes = tuple(
            Change(name, str(self.machine.packages[name]), str(self.machine.hidden[name])) for name in names
        )
        # uv does not look into the user's packages; and what a variable leads to is not ours to remove.
        command = type_line(self.machine, self.machine.executable, "-m", "pip", "uninstall", "-y", *names)
        clear = "set PYTHONPATH=" if self.machine.system == "windows" else "unset PYTHONPATH"
        words = {
            "before": str(before),
            "after": str(after),
            "remove": command,
            "unset_pythonpath": clear,
            "back_command": way_back(self.machine, [(name, self.machine.packages[name]) for name in names]),
        }
        return replace(self._step("remove-second-torch", words), changes=changes)

    def torch(self, choice: Choice, pins: Sequence[Pin], code: Capability | None) -> Step:
        """Exchange torch and what is compiled for it, in one command and from one index.

        Args:
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
            "torch_check": self._python("-c", _SHOW_CODE),
        }
        command = pip_command(
            self.machine, "install", *(f"{pin.package}=={pin.exact}" for pin in pins), "--index-url", choice.index
        )
        step = self._install("install-torch", words, command, pins, ("single",) if len(pins) == 1 else ())
        # Of torch with all that it requires; next to it, the others are small.
        return replace(step, download=choice.download if pins[0].package == "torch" else None)

    def library(self, choice: Choice, pin: Pin) -> Step:
        """Exchange one package on top of torch, held to that torch."""
        where = ("--index-url", pin.index) if pin.index else ()
        # Else its requirements might bring another torch.
        hold = () if pin.package == "numpy" else (f"torch=={choice.torch}",)
        installed = self.machine.packages.get(pin.package)
        # The same version in another build, which pip and uv take for what is there already.
        again = again_options(self.machine, pin.package) if str(installed) == pin.exact else ()
        command = pip_command(self.machine, "install", *again, f"{pin.package}=={pin.exact}", *hold, *where)
        words = {
            "package": pin.package,
            "after": pin.exact,
            "torch": f"{choice.torch}+{choice.variant}" if choice.variant else choice.torch,
            "cuda": _cuda(choice),
            "pip_show": type_command(self.machine, pip_command(self.machine, "show", pin.package)),
        }
        facts = ("exchange",) if installed else ()
        step = self._install("install-library", words, command, (pin,), (pin.package, *facts))
        return replace(step, id=f"install-{pin.package}")

    def check(self) -> Step:
        """Look whether it works."""
        is_here = "rtx50-autoload" in self.machine.packages
        words = ("-m", "rtx50_autoload", "doctor", "--probe") if is_here else ("-c", _COMPUTE)
        return self._step("check", {"check_command": self._python(*words)}, facts=() if is_here else ("foreign",))

    def unsolved(self, identifier: str, words: Mapping[str, str] | None = None, facts: Sequence[str] = ()) -> Unsolved:
        """Say what the steps do not mend."""
        return Unsolved(identifier, **texts_of("unsolved", identifier, {*self.facts, *facts}, self._words(words or {})))

    def left_out(self, choice: Choice) -> Unsolved:
        """Say which GPUs are left out."""
        words = {
            "served": gpu_names(choice.serves),
            "left_out": gpu_names(choice.leaves),
            "why": " ".join(choice.reasons[len(choice.reasons) - len(choice.leaves) :]),
        }
        numbers = [str(at) for at, gpu in enumerate(self.machine.gpus) if gpu in choice.serves]
        words["visible"] = f"CUDA_VISIBLE_DEVICES={','.join(numbers)}"
        return self.unsolved("gpu-left-out", words)

    def lacks_space(self, choice: Choice) -> bool:
        """Tell whether torch is known not to fit on the disk, packed and unpacked."""
        free = self.machine.free_disk
        return free is not None and free < (choice.download or 0) + (choice.installed or 0)

    def space(self, choice: Choice) -> Unsolved:
        """Say how much space torch takes."""
        sizes = {"free": self.machine.free_disk, "installed": choice.installed, "download": choice.download}
        return self.unsolved(
            "disk-too-small",
            {"torch": choice.torch, **{name: f"{(size or 0) / 2**30:.1f}" for name, size in sizes.items()}},
        )

    def _install(
        self, texts: str, words: Mapping[str, str], command: Command, pins: Sequence[Pin], facts: Sequence[str]
    ) -> Step:
        before = [(pin.package, self.machine.packages.get(pin.package)) for pin in pins]
        changes = tuple(
            Change(pin.package, str(old) if old else None, pin.exact)
            for pin, (_, old) in zip(pins, before, strict=True)
        )
        back = {"back_command": way_back(self.machine, before)}
        return replace(self._step(texts, {**words, **back}, facts), commands=(command,), changes=changes)

    def _step(self, identifier: str, words: Mapping[str, str], facts: Sequence[str] = ()) -> Step:
        return Step(id=identifier, **texts_of("step", identifier, {*self.facts, *facts}, self._words(words)))

    def _words(self, words: Mapping[str, str]) -> dict[str, str]:
        return {**self.words, **words}

    def _python(self, *arguments: str) -> str:
        return type_line(self.machine, self.machine.executable, *arguments)


def listed(words: Sequence[str]) -> str:
    """Join words in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _cuda(choice: Choice) -> str:
    cuda = cuda_of(choice.variant)
    return f"{cuda[0]}.{cuda[1]}" if cuda else "(not known)"
