"""What happens when torch, xformers or flash_attn arrive, or are not there, and the same by hand.

`module_loaded`, `module_failed`, `module_missing`, `distributions` and `torch_ready` are called by the import hook,
which records what they raise; `activate` and `deactivate` do by hand what it does by itself; `truth` and `masquerade`
rule a block of a program.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import _rtx50_autoload_importlib_bootstrap as hook

from . import voice
from .autoloader import Autoloader
from .errors import MappingError
from .settings import CapabilityMap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.machinery import ModuleSpec
    from importlib.metadata import Distribution, DistributionFinder
    from types import ModuleType

    from .capability import Capability
    from .errorhooks.guard import Guard
    from .masquerading.tell import BlockRule

__all__ = [
    "activate",
    "current",
    "deactivate",
    "distributions",
    "guard",
    "masquerade",
    "module_failed",
    "module_loaded",
    "module_missing",
    "torch_ready",
    "truth",
]

_current: Autoloader | None = None
#: Whether it has been decided what `_current` is; None may be the decision.
_decided = False
# Held while the package is switched on or off, so that one is over before the other begins. Reentrant: a signal handler
# may switch, too.
_lock = threading.RLock()


def current() -> Autoloader | None:
    """Give the autoloader of this process; None before the first watched import and where it is switched off."""
    return _current


def _prepare() -> Autoloader | None:
    """Give the autoloader, made at the first call; None where the settings or `deactivate` switch it off."""
    global _current, _decided  # noqa: PLW0603
    with _lock:
        if not _decided:
            loaded = Autoloader()
            _decided = True
            for problem in loaded.settings.problems:
                voice.say(problem)
            if loaded.settings.disable:
                return None
            _current = loaded
            begin = [loaded.error_hooks.install]
            if loaded.settings.rescue == "provide":
                begin.append(loaded.rescue.install)
            if loaded.settings.check_install:
                begin.append(_check_installation)
            for each in begin:
                try:
                    each()
                except Exception as error:  # noqa: BLE001, PERF203 - the other work of the package does not depend on it
                    hook.record(error)
        return _current


def _check_installation() -> None:
    from . import check_at_import  # noqa: PLC0415 - only where it is asked for

    check_at_import.start()


def module_loaded(module: ModuleType) -> None:
    """Hear from the import hook that a watched module has run."""
    loader = _prepare()
    if loader is not None:
        loader.arrived(module)


def module_failed(module: ModuleType, error: Exception) -> bool:
    """Hear from the import hook that a watched module has failed; tell whether another stands in its place now."""
    loader = _prepare()
    return loader is not None and loader.failed(module, error)


def module_missing(name: str) -> ModuleSpec | None:
    """Hear from the import hook that there is no module of a watched name; give the spec of one that we provide."""
    loader = _prepare()
    if loader is None:
        return None
    from . import predecessor  # noqa: PLC0415 - hardly any program gets here

    return predecessor.find_spec(name) or loader.rescue.provider.find_spec(name)


def distributions(context: DistributionFinder.Context) -> Iterable[Distribution]:
    """Hear from the import hook that `importlib.metadata` looks for distributions; give those that we provide."""
    loader = _prepare()
    return () if loader is None else loader.rescue.provider.find_distributions(context)


def torch_ready() -> None:
    """Hear from torch itself, through the second door, that it has been imported."""
    loader = _prepare()
    if loader is not None:
        loader.catch_up()


def activate() -> bool:
    """Switch on by hand what the start-up file switches on by itself.

    Also takes effect after `import torch`; that is said once, because code that has asked before keeps its answer.

    Returns:
        whether the package is active now, which it is not where the settings switch it off.

    """
    global _decided  # noqa: PLW0603
    try:
        if hook.disabled():
            return False
        with _lock:
            _decided = _current is not None
            hook.install("api")
            loader = _prepare()
        if loader is None:
            return False
        if loader.catch_up() and loader.patches:
            voice.say("activated after torch was imported: what has asked for the capability before keeps its answer.")
    except Exception as error:  # noqa: BLE001 - the program goes on without us
        hook.record(error)
        return False
    return True


def deactivate() -> None:
    """Take everything back: every patched object is the very same object as before, and nothing is watched."""
    global _current, _decided
    with _lock:
        loader, _current, _decided = _current, None, True
        for each in (hook.uninstall, *(() if loader is None else (loader.restore, loader.patches.restore))):
            try:
                each()
            except Exception as error:  # noqa: BLE001, PERF203 - the rest is to be taken back all the same
                hook.record(error)


def guard() -> Guard:
    """Have errors of a block or a function diagnosed that a framework would catch.

    For ``with rtx50_autoload.guard(): …`` and, on functions, generator functions and coroutine functions,
    ``@rtx50_autoload.guard()``. The error goes on as it is, with a note if it is one that the package knows. Where the
    package is switched off, nothing happens.
    """
    from .errorhooks.guard import Guard  # noqa: PLC0415 - only where it is asked for

    return Guard(_attend)


def _attend(error: BaseException) -> None:
    try:
        loader = None if hook.disabled() else _prepare()
        if loader is not None:
            loader.error_hooks.attendant.attend(error)
    except Exception as fault:  # noqa: BLE001 - the program's error is not to be replaced by ours
        hook.record(fault)


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
        callers: packages and modules that are told so. Where None, everyone but this package and those who would
            generate code for the wrong GPU: the profiles that the mode `masquerade` spares.

    Raises:
        MappingError: `mapping` is not one.

    """
    from . import batman  # noqa: PLC0415 - every `import torch` waits for this module
    from .masquerading.known_profiles import known_profiles  # noqa: PLC0415 - likewise
    from .masquerading.policy import OURSELVES  # noqa: PLC0415 - likewise
    from .masquerading.profiles import belongs  # noqa: PLC0415 - likewise

    try:
        chosen = None if mapping is None else CapabilityMap.parse(mapping)
    except ValueError as error:
        raise MappingError(f"{mapping!r} is no mapping such as '12.0:9.0' or '12.*:9.0': {error}") from error
    names = None if callers is None else tuple(callers)

    def rule(caller: str | None, capability: Capability) -> Capability | None:
        loader = _current
        if not caller or belongs(caller, OURSELVES) or loader is None:
            return None
        if names is None:
            profile = known_profiles().of(caller)
            spared = profile is not None and profile.masquerade == "truth"
        else:
            spared = not any(belongs(caller, name) for name in names)
        if spared:
            return None
        target = (chosen or loader.settings.masquerade).target(capability)
        if loader.settings.batman_mode and target not in {None, capability}:
            batman.say()
        return target

    with _block(rule):
        yield


@contextmanager
def _block(rule: BlockRule) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            loader = None if hook.disabled() else _prepare()
            if loader is not None:
                stack.enter_context(loader.block(rule))
        except Exception as error:  # noqa: BLE001 - the program's block runs all the same
            hook.record(error)
        yield
