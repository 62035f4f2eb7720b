"""All profiles: the user's own, those of other packages, and the built-in ones; for a module the first of them holds.

Read when the first caller has to be judged, and never where nobody can have to be told anything.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import _rtx50_autoload_importlib_bootstrap as hook
from rtx50_autoload.errors import SettingsFileError
from rtx50_autoload.settings_file import read_values
from rtx50_autoload.user_folders import NoHomeError, user_folder

from .package_profiles import package_profiles
from .profile_schema import read_profiles
from .profiles import Origin, Problem, Profiles, load_profiles

if TYPE_CHECKING:
    from pathlib import Path

    from .profiles import Profile

__all__ = ["known_profiles", "problems_so_far", "read_file", "user_profiles_file"]


@cache
def known_profiles() -> Profiles:
    """Read all profiles, once for the process; mistakes in them are among their problems."""
    profiles: list[Profile] = []
    problems: list[Problem] = []
    for read in (_user_profiles, package_profiles):
        try:
            found = read()
            profiles += found.listed
            problems += found.problems
        except Exception as error:  # noqa: BLE001, PERF203 - the other profiles hold all the same
            hook.record(error)
    return Profiles((*profiles, *load_profiles()), tuple(problems))


def problems_so_far() -> tuple[Problem, ...]:
    """Give what is wrong with the profiles, without reading them where that has not been needed."""
    return known_profiles().problems if known_profiles.cache_info().currsize else ()


def user_profiles_file() -> Path:
    """Return where the user's own profiles stand, whether the file exists or not.

    Raises:
        NoHomeError: this user has no home folder, and so no such file.

    """
    return user_folder("config") / "profiles.toml"


def read_file(path: Path, *, shared: bool = True) -> Profiles:
    """Read one file of profiles; one that does not exist holds none.

    Args:
        path: where it is.
        shared: whether it may be its folder's owner who has written it, and not the user alone.

    """
    origin = Origin("user", str(path))
    try:
        tables = read_values(path, shared=shared)
    except SettingsFileError as error:
        return Profiles((), (Problem(origin, "", f"all of it is ignored: {error.reason}"),))
    return read_profiles(tables, origin)


def _user_profiles() -> Profiles:
    try:
        path = user_profiles_file()
    except NoHomeError:
        return Profiles(())
    return read_file(path, shared=False)
