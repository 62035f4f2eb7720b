"""Who is told which capability: caller x device x evidence -> the answer, and the reason for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtx50_autoload.capability import Capability, format_capability

from .profiles import BUILT_IN, Profile, Rule, belongs

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtx50_autoload.settings import Settings

    from .profiles import Profiles

__all__ = ["Decision", "Policy"]

OURSELVES = "rtx50_autoload"


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer and why it is given.

    Attributes:
        reported: what the caller is told instead of the true capability; None where it is told the truth.
        reason: one sentence part, for people.
        library: the library that the caller belongs to, where one is known.

    """

    reported: Capability | None
    reason: str
    library: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """The decision for every caller under one set of settings.

    Args:
        settings: mode, mapping and extra callers are read from it.
        version: gives the installed version of a distribution, None where there is none.
        profiles: gives all profiles; called only where one of them may have to answer, for reading them takes time.

    """

    settings: Settings
    version: Callable[[str], str | None]
    profiles: Callable[[], Profiles]

    def decide(self, caller: str | None, capability: Capability) -> Decision:
        """Decide what the module `caller` is told of a device of this true capability."""
        target = self.settings.masquerade.target(capability)
        if target is None or target == capability:
            return Decision(None, f"devices of {format_capability(capability)} are not in RTX50_MASQUERADE")
        if self.settings.mode == "observe":
            return Decision(None, "RTX50_MODE=observe tells everyone the truth")
        if not isinstance(caller, str) or not caller:
            return Decision(None, "the caller has no module name")
        if belongs(caller, OURSELVES):
            return Decision(None, "our own code sees the truth")
        return self._by_user(caller) or self._by_profile(caller, target)

    def adjustments(self) -> dict[str, str]:
        """Give the adjustments that the installed versions call for, each with the library it belongs to."""
        if self.settings.mode == "observe":
            return {}
        return {
            name: profile.library
            for profile in self.profiles().in_effect
            # Few libraries have a switch, and finding the version of each takes time.
            if any(rule.adjust for rule in profile.rules)
            for name in self.rule(profile).adjust
        }

    def rule(self, profile: Profile) -> Rule:
        """Give the rule of a profile that holds for the installed version."""
        return profile.rule(profile.distribution and self.version(profile.distribution))

    def _by_user(self, caller: str) -> Decision | None:
        names = [name for name in self.settings.callers if belongs(caller, name)]
        if not names:
            return None
        name = max(names, key=len)
        return Decision(self.settings.callers[name], f"RTX50_CALLERS names {name}", name)

    def _by_profile(self, caller: str, target: Capability) -> Decision:
        profile = self.profiles().of(caller)
        if profile is None:
            return Decision(None, "the truth is the default")
        rule = self.rule(profile)
        report, reason = rule.report, rule.reason
        if self.settings.mode == "masquerade":
            report = profile.masquerade
            if report == "target":
                reason = "RTX50_MODE=masquerade tells the AI stack so"
        if profile.origin != BUILT_IN:
            reason = f"{reason} (by {profile.origin})"
        return Decision(target if report == "target" else None, reason, profile.library)
