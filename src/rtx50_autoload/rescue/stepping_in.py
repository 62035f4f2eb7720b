"""Where the stand-ins step in, for one process: which functions are watched, and what is said when one is answered."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import _rtx50_autoload_importlib_bootstrap as hook
from rtx50_autoload import voice
from rtx50_autoload.errorhooks import note
from rtx50_autoload.knowledge import within
from rtx50_autoload.masquerading.patch import PatchSet
from rtx50_autoload.masquerading.torch_cuda import is_cuda_build, is_rocm_build

from .functions import load_libraries
from .providing import Provider

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.errorhooks import Attendant
    from rtx50_autoload.evidence.devices import Survey
    from rtx50_autoload.settings import Settings

    from .functions import Broken, Library
    from .watched import Watched

__all__ = ["SteppingIn"]

#: What answers, as messages call it.
_ANSWERS = "torch's own attention"


@dataclass
class SteppingIn:
    """The watched functions of one process.

    Args:
        settings: whether stand-ins are wanted.
        version: gives the installed version of a distribution.
        survey: gives the devices.
        applied: the adjustments that are set, by name.
        attendant: records what was caught.

    """

    settings: Settings
    version: Callable[[str], str | None]
    survey: Callable[[], Survey]
    applied: Mapping[str, str]
    attendant: Attendant
    watched: dict[str, Watched] = field(default_factory=dict)
    patches: PatchSet = field(default_factory=PatchSet)

    def __post_init__(self) -> None:
        self.provider = Provider(self.settings.rescue)

    def install(self) -> None:
        """Have the provider asked for what nobody else has."""
        self.provider.install()

    def failed(self, module: ModuleType, error: Exception) -> bool:
        """Tell whether modules of ours stand in the place of one that cannot be imported."""
        return self.provider.replace(module.__name__, error)

    def arrived(self, module: ModuleType) -> None:
        """Watch the functions that came with a module which has just run, or run again."""
        if self.settings.rescue == "0":
            return
        for library in load_libraries():
            defining = sys.modules.get(library.module)
            # It may have run before the package above it woke us.
            late = module.__name__ in {library.name, library.public} and not _is_running(defining)
            if defining is not None and (defining is module or late) and not self._provides(library):
                self._watch(library, defining)

    def restore(self) -> None:
        """Give every function its own code back, and take away what was provided."""
        self.provider.remove()
        self.patches.restore()
        self.watched.clear()

    def report(self) -> list[dict[str, Any]]:
        """Give, for each library that is here, which of its functions torch answers for; for `status`."""
        if self.settings.rescue == "0":
            return []
        return [
            {
                "library": library.name,
                "stand_in": _ANSWERS,
                "state": self._state(library),
                "functions": [
                    {"function": watched.known_as, "reasons": watched.reasons, "calls": watched.calls}
                    for watched in self.watched.values()
                    if watched.library is library and watched.reasons
                ],
                "cost": library.cost,
            }
            for library in load_libraries()
            if self.version(library.distribution) is not None
            or self._provides(library)
            or library.module in sys.modules
        ]

    def _state(self, library: Library) -> str:
        version = self.version(library.distribution)
        if self._provides(library):
            return f"provided: {self.provider.why}"
        if any(watched.library is library for watched in self.watched.values()):
            return "steps in where a kernel cannot be loaded"
        if not library.covers(version):
            return f"off: the functions of version {version} have not been read"
        if library.module in sys.modules:
            return "off: this torch computes on no NVIDIA GPU"
        return f"when {library.module} is imported"

    def _provides(self, library: Library) -> bool:
        return library.module in self.provider.modules

    def _watch(self, library: Library, module: ModuleType) -> None:
        torch: Any = sys.modules.get("torch")
        version = self.version(library.distribution)
        if not self._may_be_needed(torch) or not library.covers(version):
            return
        # Loaded here: a process without such a library needs none of it.
        from .replacing import copy_of, patch_for  # noqa: PLC0415
        from .watched import Surroundings, Watched  # noqa: PLC0415

        surroundings = Surroundings(self._capability, self._stepped_in, self._refused)
        foreseen = {
            (device.index, getattr(torch, dtype)): broken.what
            for broken in self._broken(library, version)
            for device in self.survey().devices
            for dtype in broken.dtypes
            if device.capability[0] == broken.capability
        }
        probe = None
        for name in library.functions:
            function = getattr(module, name, None)
            known = self.watched.get(f"{library.module}.{name}")
            if function is None or (known is not None and known.function is function):
                continue
            try:
                original = copy_of(function)
                probe = probe or original
                watched = Watched(library, name, function, original, torch, surroundings, foreseen, probe)
                patch = patch_for(module, watched)
            except Exception as error:  # noqa: BLE001 - a function of another make is left alone, the others are not
                hook.record(error)
                continue
            self.patches.apply(patch)
            self.watched[watched.target] = watched

    def _may_be_needed(self, torch: Any) -> bool:
        """Tell whether this torch computes on NVIDIA's GPUs, and whether one may be here."""
        cuda = getattr(torch, "cuda", None)
        if cuda is None or is_rocm_build(cuda):
            return False
        if self.settings.simulate:
            return True
        # Where NVML does not answer, torch's own first use of the GPU is what tells.
        return is_cuda_build(cuda) and (bool(self.survey().devices) or self.survey().driver is None)

    def _broken(self, library: Library, version: str | None) -> tuple[Broken, ...]:
        return tuple(
            broken
            for broken in library.broken
            if within(version, broken.versions) and self.applied.get(broken.unless) != "applied" and _is_built(broken)
        )

    def _capability(self, index: int) -> Capability | None:
        return next((device.capability for device in self.survey().devices if device.index == index), None)

    def _stepped_in(self, watched: Watched, index: int, reason: str, error: Exception | None) -> None:
        """Keep what happened as an incident, and say it in one line."""
        try:
            finding = self.attendant.attend(error)
            name = next((device.name for device in self.survey().devices if device.index == index), "this device")
            incident = None if finding is None else finding.incident
            more = "" if incident is None else f"Why: `rtx50-autoload incidents show {incident}`. "
            voice.say(
                f"{watched.known_as} cannot load its kernel on {name}: {reason}. {_ANSWERS} answers in its place. "
                f"{more}The real fix: `{_real_fix(watched.library)}`. RTX50_RESCUE=0 brings the error back."
            )
        except Exception as fault:  # noqa: BLE001 - the program has its answer
            hook.record(fault)

    def _refused(self, error: Exception, why: str) -> None:
        """Say on an error that goes on to the program why no stand-in has answered."""
        try:
            self.attendant.attend(error)
            if not self.settings.quiet:
                note.put(error, f"{note.PREFIX}{_ANSWERS} could not answer in its place: {note.line(why)}")
        except Exception as fault:  # noqa: BLE001 - the program's own error is what matters
            hook.record(fault)


def _real_fix(library: Library) -> str:
    return f"rtx50-autoload fix --run {library.distribution}"


def _is_built(broken: Broken) -> bool:
    module, _, attribute = broken.built.partition(":")
    return getattr(sys.modules.get(module), attribute, None) is not None


def _is_running(module: ModuleType | None) -> bool:
    """Tell whether a module's own code has not run to its end yet."""
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))
