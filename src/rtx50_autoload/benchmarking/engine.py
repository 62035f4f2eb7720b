"""torch as what computes; the only place of this room where a device is touched."""

from __future__ import annotations

import math
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload import __version__, settings
from rtx50_autoload.benchmarking.results import About
from rtx50_autoload.errors import RTX50Error, UsageError
from rtx50_autoload.evidence.devices import survey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rtx50_autoload.benchmarking.networks import Task

__all__ = ["TorchEngine", "TorchMissingError"]

_CPU_NAME: Final = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)


class TorchMissingError(RTX50Error, ImportError):
    """torch cannot be imported."""


class TorchEngine:
    """Computes with the installed torch as it is by default, this package at work beside it as in any program.

    Raises:
        TorchMissingError: there is no torch, or it cannot be imported.

    """

    def __init__(self) -> None:
        try:
            import torch  # noqa: PLC0415 - it takes seconds, and need not be there

            from rtx50_autoload.benchmarking import networks  # noqa: PLC0415
        except (ImportError, OSError) as error:
            raise TorchMissingError(
                f"torch cannot be imported ({error}), and nothing is measured without it; "
                "`rtx50-autoload plan` says which one fits this machine"
            ) from error
        self._torch = torch
        self._networks = networks
        self._simulated = bool(settings.load().simulate)

    def about(self, place: str) -> About:
        """Tell where it is computed."""
        torch = self._torch
        index = torch.device(place).index
        truth = survey()
        gpu = None
        if index < len(truth.devices):
            gpu = truth.devices[index].name
        elif torch.cuda.is_available() and not self._simulated:
            gpu = torch.cuda.get_device_name(index)
        return About(
            gpu=gpu,
            driver=truth.driver,
            simulated=self._simulated,
            cpu=_cpu_name(),
            threads=torch.get_num_threads(),
            versions={
                "rtx50-autoload": __version__,
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "cuda": torch.version.cuda,
            },
            float32_precision=torch.get_float32_matmul_precision(),
        )

    def obstacle(self, place: str) -> str:
        """Say why a GPU cannot be used, as a clause; give an empty text where it can.

        Raises:
            UsageError: there are GPUs, and this is none of them.

        """
        torch = self._torch
        if not torch.cuda.is_available():
            built = torch.version.cuda
            why = f"this torch ({torch.__version__}) is built without CUDA"
            return f"torch finds no GPU that it can use, with CUDA {built}" if built else why
        index, count = torch.device(place).index, torch.cuda.device_count()
        if index >= count:
            raise UsageError(f"there is no device {place}: torch sees {count}, numbered from cuda:0")
        try:
            torch.ones(8, device=place).sum().item()
        except RuntimeError as error:
            return f"{place} cannot compute: {str(error).splitlines()[0]}"
        return ""

    def task(self, kind: str, size: Mapping[str, int]) -> Task:
        """Make work with its inputs, the same at each call."""
        task: Task = getattr(self._networks, kind)(size)
        return task

    def on(self, task: Task, place: str, dtype: str) -> Callable[[], Any]:
        """Give what computes it once in a place and a type, where its inputs now are."""
        torch = self._torch
        numbers = [each.to(place, getattr(torch, dtype)) for each in task.numbers]
        indices = None if task.indices is None else task.indices.to(place)

        def call() -> Any:  # noqa: ANN401
            with torch.inference_mode():
                return task.compute(numbers, indices)

        return call

    def synchronise(self, place: str) -> None:
        """Wait until all that was called there is done."""
        if place != "cpu":
            self._torch.cuda.synchronize(place)

    def distance(self, result: Any, expected: Any) -> float:  # noqa: ANN401
        """Give the largest distance as a share of the largest expected value; infinite where that is no number."""
        if result.shape != expected.shape:
            return math.inf
        largest = (result.cpu().to(expected.dtype) - expected).abs().max() / expected.abs().max()
        distance = float(largest.item())
        return distance if math.isfinite(distance) else math.inf


def _cpu_name() -> str:
    try:
        found = _CPU_NAME.search(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or f"{os.name} {platform.machine()}"
