"""The GPUs of this machine as its driver's management library (NVML) names them; CUDA is not initialised.

Seen with driver 580.159.04 on an H100: ``nvmlInit`` itself loads libcuda and leaves a thread of the driver's behind,
which ``nvmlShutdown`` does not end. ``cuInit`` works in a child that is forked afterwards, but the fork is a
DeprecationWarning from Python 3.12 on. So there the question is left to another process (:mod:`.nvml_aside`).

NVML knows nothing of ``CUDA_VISIBLE_DEVICES``: which of these GPUs CUDA shows is :mod:`.visibility`'s matter.
"""

from __future__ import annotations

from functools import cache
from threading import Thread
from typing import TYPE_CHECKING

from rtx50_autoload.evidence import nvml_aside
from rtx50_autoload.evidence.gpu import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["read"]


@cache
def read(time_limit: float) -> Reading:
    """Ask NVML for the GPUs, once; what goes wrong is told in the reading, not raised.

    Args:
        time_limit: seconds to wait for the driver. A driver that hangs keeps the thread that asked it until the process
            ends.

    """
    silent = Reading((), None, (f"the NVIDIA driver did not answer within {time_limit:g} seconds",))
    if nvml_aside.is_due():
        try:
            return Reading.from_json(nvml_aside.read(time_limit))
        except nvml_aside.DriverSilentError:
            return silent
        except Exception:  # noqa: BLE001, S110 - where there may be no other process, this one can ask
            pass
    readings: list[Reading] = []
    try:
        # Only where the driver is asked, for it loads ctypes.
        from rtx50_autoload.evidence.nvml_reading import read_here  # noqa: PLC0415

        # A daemon, so that a hanging driver does not hold the process at its end.
        thread = Thread(target=_read_into, args=(readings, read_here), name="rtx50-autoload NVML", daemon=True)
        thread.start()
        thread.join(time_limit)
    except Exception as error:  # noqa: BLE001 - Python without ctypes, or no thread to be had: the driver stays unasked
        return Reading((), None, (f"NVML could not be asked ({error!r})",))
    return readings[0] if readings else silent


def _read_into(readings: list[Reading], read_here: Callable[[], Reading]) -> None:
    # What is raised here would be printed as an error in one of the program's threads.
    try:
        readings.append(read_here())
    except Exception as error:  # noqa: BLE001 - likewise
        readings.append(Reading((), None, (f"NVML could not be asked ({error!r})",)))
