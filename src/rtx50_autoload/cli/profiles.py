"""``profiles``: what is known of which library, from whom, and what each is told on an RTX 50-series GPU."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.cli.exit_codes import FINDING, OK
from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.cli.command_parser import CommandParser
    from rtx50_autoload.masquerading.policy import Policy
    from rtx50_autoload.masquerading.profiles import Problem, Profile, Profiles

__all__ = ["add_parser", "run"]

#: What the table is for: the GPUs of the RTX 50 series, whether one is here or not.
_RTX_50: Final[Capability] = (12, 0)


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    """Add the command to the program's parser; what it parses carries `run` as ``run``."""
    parser = subparsers.add_parser(
        "profiles",
        help="all profiles of libraries, who has written each, and what each library is told",
        description="List the profiles: your own, those of other packages, and those that are built in. Nothing of "
        "another package is imported. Exit status: 0 all are valid, 1 one is not, 2 usage.",
        examples=(
            ("rtx50-autoload profiles", "who is told what, by whose profile"),
            ("rtx50-autoload profiles --check profiles.toml", "whether a file that you write is valid"),
        ),
    )
    parser.add_argument(
        "--check", metavar="FILE", type=Path, help="instead, tell whether this file of profiles is valid"
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the profiles, or what is wrong with a file of them.

    Returns:
        0 where all are valid, 1 where one is not.

    Raises:
        UsageError: there is no such file.

    """
    # A command imports what it needs: the parser of every other command is built without these.
    from rtx50_autoload.cli import profiles_console  # noqa: PLC0415
    from rtx50_autoload.masquerading.known_profiles import known_profiles, read_file  # noqa: PLC0415

    if arguments.check is None:
        from rtx50_autoload.autoloader import Autoloader  # noqa: PLC0415

        profiles, show = known_profiles(), profiles_console.show_profiles
        document = _all(profiles, Autoloader().policy)
    elif os.path.exists(arguments.check):  # noqa: PTH110 - Path.exists raises where a folder may not be looked into
        profiles, show = read_file(arguments.check), profiles_console.show_checked
        document = {
            "file": str(arguments.check),
            "profiles": [profile.library for profile in profiles.listed],
            "problems": [_problem(problem) for problem in profiles.problems],
        }
    else:
        raise UsageError(f"there is no file {arguments.check}")
    if arguments.json:
        print(json.dumps(document, indent=2))  # noqa: T201
    else:
        show(document)
    return FINDING if profiles.problems else OK


def _all(profiles: Profiles, policy: Policy) -> dict[str, Any]:
    return {
        "capability": list(_RTX_50),
        "mode": policy.settings.mode,
        "user_file": _user_file(),
        "profiles": [_profile(profile, profiles, policy) for profile in profiles.listed],
        "problems": [_problem(problem) for problem in profiles.problems],
    }


def _user_file() -> str | None:
    from rtx50_autoload.masquerading.known_profiles import user_profiles_file  # noqa: PLC0415
    from rtx50_autoload.user_folders import NoHomeError  # noqa: PLC0415

    try:
        return str(user_profiles_file())
    except NoHomeError:
        return None


def _profile(profile: Profile, profiles: Profiles, policy: Policy) -> dict[str, Any]:
    rule = policy.rule(profile)
    return {
        "library": profile.library,
        "origin": {"kind": profile.origin.kind, "file": profile.origin.file, "package": profile.origin.package},
        "modules": [_module(module, profile, profiles, policy) for module in profile.modules],
        "distribution": profile.distribution,
        "installed": profile.distribution and policy.version(profile.distribution),
        "masquerade": profile.masquerade,
        "rule": {
            "versions": rule.versions,
            "report": rule.report,
            "adjust": list(rule.adjust),
            "reason": rule.reason,
            "source": rule.source,
        },
    }


def _module(module: str, profile: Profile, profiles: Profiles, policy: Policy) -> dict[str, Any]:
    decision = policy.decide(module, _RTX_50)
    holds = profiles.by_module[module]
    return {
        "module": module,
        "replaced_by": None if holds is profile else holds.origin.place,
        "reported": None if decision.reported is None else list(decision.reported),
        "reason": decision.reason,
    }


def _problem(problem: Problem) -> dict[str, str | None]:
    return {
        "file": problem.origin.file,
        "package": problem.origin.package,
        "entry": problem.entry,
        "what": problem.what,
        "text": str(problem),
    }
