"""What one process found out, decided and did: the rooms below wired together.

Every `import torch` waits for this module, so what only some processes need is imported where they need it: the rooms
that ask the driver, that decide who is told what, and that stand in for attention.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

import _rtx50_autoload_importlib_bootstrap as hook

from . import settings as settings_module
from . import voice
from .capability import Capability, format_capability
from .errorhooks import Attendant, ErrorHooks
from .evidence import driver, pci
from .masquerading.patch import PatchSet
from .masquerading.tell import block_rule
from .masquerading.torch_cuda import (
    capability_patches,
    is_cuda_build,
    is_rocm_build,
    make_teller,
    when_cuda_is_up,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from .evidence.devices import Device, Survey
    from .masquerading.policy import Decision, Policy
    from .masquerading.tell import BlockRule
    from .rescue import SteppingIn
    from .settings import Settings

__all__ = ["Autoloader"]

#: The packages in `rescue/functions.toml`, which only they make worth reading.
_STOOD_IN_FOR: Final = frozenset({"flash_attn", "xformers"})


def installed_version(distribution: str) -> str | None:
    """Give the installed version of a distribution, None where there is none or it does not tell one."""
    # The standard library's, which torch loads too: the backport would put a finder of its own into the user's process.
    from importlib import metadata  # noqa: PLC0415 - where nobody is told anything, `import torch` does not wait for it

    for found in metadata.distributions(name=distribution):
        # What an interrupted uninstallation leaves may stand before the distribution itself, and fails in many ways.
        with suppress(Exception):
            if found.version:
                return found.version
    return None


class Autoloader:
    """What was found out, decided and done in this process.

    Attributes:
        settings: read when the first watched module arrived.
        patches: the changes to torch.
        applied: by name of the adjustment, its state: "applied", "failed: …".
        decisions: every caller that asked, with the true capability of the device, and what it was told.
        failures: watched modules that could not be imported, with the error's type and text.
        error_hooks: the ways by which errors come to diagnosis.

    """

    def __init__(self) -> None:
        self.settings: Settings = settings_module.load()
        self.patches = PatchSet()
        self.applied: dict[str, str] = {}
        self.decisions: dict[tuple[str | None, Capability], Decision] = {}
        self.failures: dict[str, str] = {}
        self.active = True
        self._survey: Survey | None = None
        self._rescue: SteppingIn | None = None
        self._versions: dict[str, str | None] = {}
        self._set_back: list[Callable[[], None]] = []
        self._arrived: set[str] = set()
        self._blocks = 0
        self._announced = False
        self._lock = threading.RLock()
        voice.quiet, voice.debug = self.settings.quiet, self.settings.debug
        self.error_hooks = ErrorHooks(Attendant(self.settings.quiet))

    @cached_property
    def policy(self) -> Policy:
        """Who is told what."""
        from .masquerading.known_profiles import known_profiles  # noqa: PLC0415
        from .masquerading.policy import Policy  # noqa: PLC0415

        return Policy(self.settings, self._version, known_profiles)

    @property
    def rescue(self) -> SteppingIn:
        """The functions that torch's attention answers for where their kernels cannot be loaded."""
        from .rescue import SteppingIn  # noqa: PLC0415

        with self._lock:
            if self._rescue is None:
                self._rescue = SteppingIn(
                    self.settings, self._version, lambda: self.survey, self.applied, self.error_hooks.attendant
                )
            return self._rescue

    @property
    def survey(self) -> Survey:
        """The devices as they truly are, or as RTX50_SIMULATE has them; looked at once."""
        # Kept in a name of its own: another thread may have it looked at anew meanwhile.
        survey = self._survey
        if survey is None:
            from .evidence import devices  # noqa: PLC0415

            survey = self._survey = devices.survey(self.settings.simulate)
        return survey

    def needed(self, devices: tuple[Device, ...]) -> bool:
        """Tell whether anybody is to be told anything but the truth of one of these devices."""
        return self.settings.mode != "observe" and any(
            self.settings.masquerade.target(device.capability) not in {None, device.capability} for device in devices
        )

    @cached_property
    def ruled_out(self) -> bool:
        """Whether nobody is told anything because no GPU here can be one that is meant; the driver is not asked."""
        return (
            not self.settings.simulate
            and self.settings.masquerade.begins_at(pci.BLACKWELL)
            and pci.all_are_older_than_blackwell()
        )

    def decide(self, caller: str | None, capability: Capability) -> Capability:
        """Answer a caller, keep the decision, and say the first time that somebody is told another capability."""
        decision = self.policy.decide(caller, capability)
        self.decisions[caller, capability] = decision
        self._say_what_is_wrong_with_profiles()
        if decision.reported is None:
            return capability
        if not self._announced:
            self._announced = True
            told = f"{self._name_of(capability)} is {format_capability(decision.reported)}"
            if self.settings.mode == "masquerade":
                text = f"the AI stack is told that {told}: it may now pick code that fails here, or is slow"
            else:
                text = f"{decision.library} is told that {told}; your own code sees the truth"
            voice.say(
                f"{text}. `rtx50-autoload status` says why, RTX50_QUIET=1 hides this line, "
                "RTX50_DISABLE=1 switches it all off."
            )
        return decision.reported

    def arrived(self, module: ModuleType) -> None:
        """Act on a watched module that has been executed, or executed again."""
        if not self.active:
            return
        self._arrived.add(module.__name__)
        try:
            self.error_hooks.arrived(module)
        except Exception as error:  # noqa: BLE001 - what is told to whom does not depend on it
            hook.record(error)
        self._tell_and_adjust(module)
        if module.__name__.partition(".")[0] in _STOOD_IN_FOR:
            # After the adjustments: what they keep a library off, need not be foreseen.
            self.rescue.arrived(module)
        if not self.active:
            # Deactivated by another thread meanwhile, which could not take back what was not there yet.
            self.restore()

    def _tell_and_adjust(self, module: ModuleType) -> None:
        if module.__name__ == "torch.cuda":
            self._torch_arrived(module)
        else:
            self._adjust(module)

    def failed(self, module: ModuleType, error: Exception) -> bool:
        """Keep for `status` that the import of a watched module has failed, and attend to the error.

        Returns:
            whether another module stands in its place now, so that the import has not failed for the program.

        """
        self.failures[module.__name__] = f"{type(error).__name__}: {error}"
        self.error_hooks.import_failed(error)
        return self.rescue.failed(module, error)

    def catch_up(self) -> bool:
        """Act on the modules that were there before us; tell whether torch was among them."""
        late = {name for name in list(sys.modules) if name in hook.watched} - self._arrived
        for name in sorted(late, reverse=True):
            self.arrived(sys.modules[name])
        return "torch.cuda" in late

    @contextmanager
    def block(self, rule: BlockRule) -> Iterator[None]:
        """Let `rule` answer before the policy, in this context, until the block ends."""
        with self._lock:
            self._blocks += 1
            cuda = sys.modules.get("torch.cuda")
            if not self.patches and cuda is not None and not is_rocm_build(cuda):
                self._patch(cuda)
        token = block_rule.set(rule)
        try:
            yield
        finally:
            block_rule.reset(token)
            self._block_ended()

    def _block_ended(self) -> None:
        try:
            with self._lock:
                self._blocks -= 1
                if not self._blocks and not self._told_to_anyone():
                    self.patches.restore()
        except Exception as error:  # noqa: BLE001 - what the program's block has raised is not to be replaced
            hook.record(error)

    def _told_to_anyone(self) -> bool:
        return bool(self.settings.simulate) or self._is_needed()

    def _is_needed(self) -> bool:
        """Tell whether anybody is to be told anything, with as few questions as that takes."""
        # Where there is nobody to ask, what torch has told meanwhile counts.
        unknown = self._survey is None and not self.settings.simulate and driver.is_absent()
        return not self.ruled_out and not unknown and self.needed(self.survey.devices)

    def _torch_arrived(self, cuda: ModuleType) -> None:
        """Patch `torch.cuda` if somebody has to be told something, now or once CUDA shows its devices."""
        if is_rocm_build(cuda):
            return
        if self._told_to_anyone() or self._blocks:
            self._patch(cuda)
            if self.settings.batman_mode and self.patches and self._is_needed():
                from . import batman  # noqa: PLC0415 - hardly anybody asks for it

                batman.say()
        elif not self.ruled_out and (self._survey is None or not self._survey.devices) and is_cuda_build(cuda):
            # NVML does not answer here, so the devices are not known before the program itself has initialised CUDA.
            when_cuda_is_up(cuda, self._cuda_is_up)

    def _patch(self, cuda: ModuleType) -> None:
        """Make `torch.cuda` ask us."""
        with self._lock:
            if not self.active:
                return
            # After a reload the functions are new ones, while a class of C++ still has our attributes.
            self.patches.restore()
            teller = make_teller(cuda, self.decide, hook.record)
            if self.settings.simulate:
                from .masquerading.simulation import simulate  # noqa: PLC0415

                simulate(cuda, self.settings.simulate, teller, self.patches)
            for patch in capability_patches(cuda, teller):
                self.patches.apply(patch)

    def _adjust(self, module: ModuleType) -> None:
        """Set the switches of a library that has just arrived."""
        if not self._is_needed():
            return
        from .masquerading.adjustments import ADJUSTMENTS  # noqa: PLC0415

        settable = {name for name, adjustment in ADJUSTMENTS.items() if adjustment.module == module.__name__}
        # Most modules have no switch, torch among them, and reading the profiles takes time.
        for name in self.policy.adjustments() if settable else ():
            if name in settable:
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
            stand_ins = () if self._rescue is None else (self._rescue.restore,)
            for each in (self.error_hooks.remove, *stand_ins, *reversed(self._set_back)):
                try:
                    each()
                except Exception as error:  # noqa: BLE001, PERF203 - the rest is to be taken back all the same
                    hook.record(error)
            self._set_back.clear()
            self.applied.clear()
            self.patches.restore()
            self._arrived.clear()

    def _cuda_is_up(self) -> None:
        try:
            self._survey = None
            if self.active and self.needed(self.survey.devices):
                # Not `arrived`: torch holds its lock while it calls us, and would be asked for it again.
                for name in sorted(self._arrived & sys.modules.keys()):
                    self._tell_and_adjust(sys.modules[name])
        except Exception as error:  # noqa: BLE001 - torch would fail to initialise CUDA
            hook.record(error)

    def _say_what_is_wrong_with_profiles(self) -> None:
        from .masquerading.known_profiles import problems_so_far  # noqa: PLC0415 - the policy has imported it

        problems = problems_so_far()
        # Who runs the program has written the user's own file, and can seldom mend that of another package.
        own = [problem for problem in problems if problem.origin.kind == "user"]
        if self.settings.debug:
            for problem in problems:
                voice.say(str(problem))
        elif own:
            more = f" Mistakes there: {len(own)}; `rtx50-autoload profiles` lists them." if len(own) > 1 else ""
            voice.say(f"{own[0]}{more}")

    def _name_of(self, capability: Capability) -> str:
        name = next((device.name for device in self.survey.devices if device.capability == capability), "a device")
        return f"{name} ({format_capability(capability)})"

    def _version(self, distribution: str) -> str | None:
        if distribution not in self._versions:
            self._versions[distribution] = installed_version(distribution)
        return self._versions[distribution]
