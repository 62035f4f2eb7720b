"""What happens when torch, xformers or flash_attn arrive: the one place where the rooms are wired together.

`module_loaded`, `module_failed` and `torch_ready` are called by the import hook, which records what they raise;
`activate` and `deactivate` are the same two ways by hand.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import _rtx50_autoload_importlib_bootstrap as hook

from . import settings as settings_module
from . import voice
from .capability import Capability, format_capability
from .errors import MappingError
from .evidence import devices as devices_module
from .masquerading.adjustments import ADJUSTMENTS
from .masquerading.patch import PatchSet
from .masquerading.policy import OURSELVES, Decision, Policy
from .masquerading.profiles import belongs
from .masquerading.simulation import simulate
from .masquerading.tell import block_rule
from .masquerading.torch_cuda import capability_patches, make_teller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

    from .evidence.devices import Device, Survey
    from .masquerading.tell import BlockRule
    from .settings import Settings

__all__ = [
    "Autoloader",
    "activate",
    "current",
    "deactivate",
    "masquerade",
    "module_failed",
    "module_loaded",
    "torch_ready",
    "truth",
]


def installed_version(distribution: str) -> str | None:
    """Give the installed version of a distribution, None where there is none."""
    import importlib_metadata  # noqa: PLC0415 - where nobody is told anything, `import torch` does not wait for it

    try:
        return importlib_metadata.version(distribution)
    except importlib_metadata.PackageNotFoundError:
        return None


@dataclass
class Autoloader:
    """What was found out, decided and done in this process.

    Attributes:
        settings: read when the first watched module arrived.
        patches: the changes to torch.
        applied: by name of the adjustment, its state: "applied", "failed: …".
        decisions: every caller that asked, with the true capability of the device, and what it was told.
        failures: watched modules that could not be imported, with the error's type and text.

    """

    settings: Settings = field(default_factory=settings_module.load)
    patches: PatchSet = field(default_factory=PatchSet)
    applied: dict[str, str] = field(default_factory=dict)
    decisions: dict[tuple[str | None, Capability], Decision] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    active: bool = True
    _survey: Survey | None = None
    _versions: dict[str, str | None] = field(default_factory=dict)
    _set_back: list[Callable[[], None]] = field(default_factory=list)
    _arrived: set[str] = field(default_factory=set)
    _blocks: int = 0
    _announced: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        voice.quiet, voice.debug = self.settings.quiet, self.settings.debug
        self.policy = Policy(self.settings, self._version)

    @property
    def survey(self) -> Survey:
        """The devices as they truly are, or as RTX50_SIMULATE has them; looked at once."""
        if self._survey is None:
            self._survey = devices_module.survey(self.settings.simulate)
        return self._survey

    def needed(self, devices: tuple[Device, ...]) -> bool:
        """Tell whether anybody is to be told anything but the truth of one of these devices."""
        return self.settings.mode != "observe" and any(
            self.settings.masquerade.target(device.capability) not in {None, device.capability} for device in devices
        )

    def decide(self, caller: str | None, capability: Capability) -> Capability:
        """Answer a caller, keep the decision, and say the first time that somebody is told another capability."""
        decision = self.policy.decide(caller, capability)
        self.decisions[caller, capability] = decision
        if decision.reported is None:
            return capability
        if not self._announced:
            self._announced = True
            voice.say(
                f"{decision.library} is told that {self._name_of(capability)} is "
                f"{format_capability(decision.reported)}; your own code sees the truth. `rtx50-autoload status` says "
                "why, RTX50_QUIET=1 hides this line, RTX50_DISABLE=1 switches it all off."
            )
        return decision.reported

    def arrived(self, module: ModuleType) -> None:
        """Act on a watched module that has been executed, or executed again."""
        self._arrived.add(module.__name__)
        if module.__name__ == "torch.cuda":
            self._torch_arrived(module)
        else:
            self._adjust(module)

    def catch_up(self) -> bool:
        """Act on the modules that were there before us; tell whether torch was among them."""
        names = {"torch.cuda", *(adjustment.module for adjustment in ADJUSTMENTS.values())}
        late = (names & sys.modules.keys()) - self._arrived
        for name in sorted(late, reverse=True):
            self.arrived(sys.modules[name])
        return "torch.cuda" in late

    @contextmanager
    def block(self, rule: BlockRule) -> Iterator[None]:
        """Let `rule` answer before the policy, in this context, until the block ends."""
        with self._lock:
            self._blocks += 1
            if not self.patches and "torch.cuda" in sys.modules:
                self._patch(sys.modules["torch.cuda"])
        token = block_rule.set(rule)
        try:
            yield
        finally:
            block_rule.reset(token)
            with self._lock:
                self._blocks -= 1
                if not self._blocks and not self._told_to_anyone():
                    self.patches.restore()

    def _told_to_anyone(self) -> bool:
        return bool(self.settings.simulate) or self.needed(self.survey.devices)

    def _torch_arrived(self, cuda: ModuleType) -> None:
        """Patch `torch.cuda` if somebody has to be told something, now or once CUDA shows its devices."""
        if self._told_to_anyone() or self._blocks:
            self._patch(cuda)
        elif not self.survey.devices and hasattr(cuda.torch._C, "_CudaDeviceProperties"):
            # NVML does not answer here. torch calls this when the program has initialised CUDA, or at once if it has.
            cuda._lazy_call(self._cuda_is_up)

    def _patch(self, cuda: ModuleType) -> None:
        """Make `torch.cuda` ask us."""
        with self._lock:
            # After a reload the functions are new ones, while a class of C++ still has our attributes.
            self.patches.restore()
            teller = make_teller(cuda, self.decide, hook.record)
            if self.settings.simulate:
                simulate(cuda, self.settings.simulate, teller, self.patches)
            for patch in capability_patches(cuda, teller):
                self.patches.apply(patch)

    def _adjust(self, module: ModuleType) -> None:
        """Set the switches of a library that has just arrived."""
        if not self.needed(self.survey.devices):
            return
        for name in self.policy.adjustments():
            if ADJUSTMENTS[name].module == module.__name__:
                try:
                    self._set_back.append(ADJUSTMENTS[name].set(module))
                except Exception as error:  # noqa: BLE001 - a version without the switch
                    self.applied[name] = f"failed: {error}"
                else:
                    self.applied[name] = "applied"

    def restore(self) -> None:
        """Take everything back."""
        with self._lock:
            self.active = False
            while self._set_back:
                self._set_back.pop()()
            self.applied.clear()
            self.patches.restore()
            self._arrived.clear()

    def _cuda_is_up(self) -> None:
        try:
            self._survey = None
            if self.active and self.needed(self.survey.devices):
                for name in sorted(self._arrived & sys.modules.keys()):
                    self.arrived(sys.modules[name])
        except Exception as error:  # noqa: BLE001 - torch would fail to initialise CUDA
            hook.record(error)

    def _name_of(self, capability: Capability) -> str:
        name = next((device.name for device in self.survey.devices if device.capability == capability), "a device")
        return f"{name} ({format_capability(capability)})"

    def _version(self, distribution: str) -> str | None:
        if distribution not in self._versions:
            self._versions[distribution] = installed_version(distribution)
        return self._versions[distribution]


_current: Autoloader | None = None
_switched_off = False
_lock = threading.Lock()


def current() -> Autoloader | None:
    """Give the autoloader of this process; None before the first watched import and where it is switched off."""
    return _current


def _prepare() -> Autoloader | None:
    """Give the autoloader, made at the first call; None where the settings or `deactivate` switch it off."""
    global _current  # noqa: PLW0603
    with _lock:
        if _switched_off:
            return None
        if _current is None:
            loaded = Autoloader()
            for problem in loaded.settings.problems:
                voice.say(problem)
            if loaded.settings.disable:
                return None
            if loaded.settings.batman_mode:
                voice.say("Batman mode: I am the night, and your sm_120 is safe with me.")
            _current = loaded
        return _current


def module_loaded(module: ModuleType) -> None:
    """Hear from the import hook that a watched module has run."""
    loader = _prepare()
    if loader is not None:
        loader.arrived(module)


def module_failed(module: ModuleType, error: Exception) -> None:
    """Hear from the import hook that a watched module has failed; kept for `status`."""
    loader = _prepare()
    if loader is not None:
        loader.failures[module.__name__] = f"{type(error).__name__}: {error}"


def torch_ready() -> None:
    """Hear from torch itself, through the second door, that it has been imported."""
    loader = _prepare()
    if loader is not None:
        loader.catch_up()


def activate() -> bool:
    """Switch on by hand what the start-up file switches on by itself.

    Also takes effect after `import torch`; that is said once, because code that has asked before keeps its answer.

    Returns:
        whether the package is active now: False where the settings switch it off.

    """
    global _switched_off  # noqa: PLW0603
    if hook.disabled():
        return False
    _switched_off = False
    hook.install("api")
    loader = _prepare()
    if loader is None:
        return False
    if loader.catch_up() and loader.patches:
        voice.say("activated after torch was imported: what has asked for the capability before keeps its answer.")
    return True


def deactivate() -> None:
    """Take everything back: every patched object is the very same object as before, and nothing is watched."""
    global _current, _switched_off  # noqa: PLW0603
    hook.uninstall()
    with _lock:
        loader, _current, _switched_off = _current, None, True
    if loader is not None:
        loader.restore()


@contextmanager
def truth() -> Iterator[None]:
    """Tell every caller the true capability inside the block (in this thread or task)."""
    with _block(lambda _caller, _capability: None):
        yield


@contextmanager
def masquerade(mapping: str | None = None, callers: Iterable[str] | None = None) -> Iterator[None]:
    """Tell callers another capability inside the block (in this thread or task).

    Args:
        mapping: as in RTX50_MASQUERADE, ``"12.0:9.0"``; the setting's own where None.
        callers: packages and modules that are told so; everyone but this package where None.

    Raises:
        MappingError: `mapping` is not one.

    """
    try:
        chosen = None if mapping is None else settings_module.CapabilityMap.parse(mapping)
    except ValueError as error:
        raise MappingError(f"{mapping!r} is no mapping such as '12.0:9.0' or '12.*:9.0': {error}") from error
    names = None if callers is None else tuple(callers)

    def rule(caller: str | None, capability: Capability) -> Capability | None:
        told = caller is not None and not belongs(caller, OURSELVES)
        if told and names is not None:
            told = any(belongs(caller or "", name) for name in names)
        loader = _current
        active = chosen or (loader.settings.masquerade if loader is not None else None)
        return active.target(capability) if told and active is not None else None

    with _block(rule):
        yield


@contextmanager
def _block(rule: BlockRule) -> Iterator[None]:
    loader = None if hook.disabled() else _prepare()
    with loader.block(rule) if loader is not None else nullcontext():
        yield
