"""What steps say of one machine: the texts, filled with what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtx50_autoload.installer.commanding import type_line
from rtx50_autoload.installer.plan import Step, Unsolved
from rtx50_autoload.installer.texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.diagnosis.situation import Gpu
    from rtx50_autoload.installer.machine import Machine

__all__ = ["Wording", "gpu_names", "listed"]


class Wording:
    """Makes steps, and what remains, out of the texts for a machine."""

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

    def step(self, identifier: str, words: Mapping[str, str], facts: Sequence[str] = ()) -> Step:
        """Make a step without commands."""
        texts = texts_of("step", identifier, {*self.facts, *facts}, {**self.words, **words})
        return Step(id=identifier, **texts)

    def unsolved(self, identifier: str, words: Mapping[str, str] | None = None, facts: Sequence[str] = ()) -> Unsolved:
        """Say what the steps do not mend."""
        texts = texts_of("unsolved", identifier, {*self.facts, *facts}, {**self.words, **(words or {})})
        return Unsolved(identifier, **texts)

    def python(self, *arguments: str) -> str:
        """Write how the Python in question is started."""
        return type_line(self.machine, self.machine.executable, *arguments)


def gpu_names(gpus: Sequence[Gpu]) -> str:
    """Name GPUs in a sentence, each kind once."""
    names = dict.fromkeys(gpu.name or "the GPU" for gpu in gpus)
    return " and ".join(names) or "the GPU"


def listed(words: Sequence[str]) -> str:
    """Join words in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
