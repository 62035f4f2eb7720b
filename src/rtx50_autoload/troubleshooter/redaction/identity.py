"""Who this machine and its user are: names that no rule can know by their form."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .rules import load_rules

__all__ = ["Identity", "this_machine"]

# A shorter name is part of too many other words to be told from them.
_SHORTEST = 3


@dataclass(frozen=True, slots=True)
class Identity:
    """Names to take out of a text wherever they stand.

    Attributes:
        users: login names and full names.
        hosts: names of the machine.
        homes: folders, each with all that lies in it.

    """

    users: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()

    def patterns(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        """Give, by kind, what finds the names; ordinary words such as ``root`` and ``ubuntu`` are none."""
        kept = load_rules().kept
        found = [("home", re.compile(f"{_any(self.homes)}(?![\\w.-])"))] if self.homes else []
        for kind, names in (("user name", self.users), ("host name", self.hosts)):
            uncommon = [name for name in names if len(name) >= _SHORTEST and name.lower() not in kept[kind]]
            if uncommon:
                found.append((kind, re.compile(rf"(?i)(?<![^\W_]){_any(uncommon)}(?![^\W_])")))
        return tuple(found)


@cache
def this_machine() -> Identity:
    """Ask the operating system and the environment for the names of this machine and of who runs this process."""
    users = {os.environ.get(name, "") for name in ("USER", "USERNAME", "LOGNAME", "LNAME", "SUDO_USER")}
    hosts = {os.environ.get(name, "") for name in ("HOSTNAME", "HOST", "COMPUTERNAME")}
    homes = {os.environ.get(name, "") for name in ("HOME", "USERPROFILE")}
    # No such user in a container, no name at all, no `pwd` on Windows.
    with contextlib.suppress(KeyError, ImportError):
        import pwd  # noqa: PLC0415 - not on Windows

        entry = pwd.getpwuid(os.getuid())
        users |= {entry.pw_name, entry.pw_gecos.partition(",")[0]}
        homes.add(entry.pw_dir)
    hosts.add(platform.node())
    hosts |= {host.partition(".")[0] for host in hosts}
    kept = load_rules().kept["user name"]
    # A home at the root of all paths, or of a name that says nothing, hides nobody.
    homes = {home.rstrip("/\\") for home in homes}
    homes = {home for home in homes if Path(home).name.lower() not in {"", *kept} and len(Path(home).parts) > 1}
    users |= {Path(home).name for home in homes}
    return Identity(*(tuple(sorted(names, key=lambda name: (-len(name), name))) for names in (users, hosts, homes)))


def _any(names: tuple[str, ...] | list[str]) -> str:
    return "(?:" + "|".join(map(re.escape, names)) + ")"
