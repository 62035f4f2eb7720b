"""The import hook of rtx50-autoload: all of it that runs at interpreter start.

`rtx50_autoload.pth` imports this module at every start of Python, so it imports nothing that Python has not loaded
already (not even `__future__` or `typing`), reads no file and prints nothing. It is small, because most programs import
nothing that is watched: what is done for a watched module stands in _rtx50_autoload_importlib_bootstrap_watching.py.

It knows nothing of GPUs: ``module_loaded(module)`` or ``module_failed(module, error)`` of the module named by `handler`
is called when a module named in `watched` has run, or has failed to. ``module_missing(name)`` is asked for
`rtx50_compat` where nobody has it, and for the others where RTX50_RESCUE=provide wants that; then
``distributions(context)``, too, for what `importlib.metadata` is to say. The name of this file, of `install` and of
`torch_backend` stand in files that outlive an upgrade (the start-up file, the entry point): they never change.

The file name contains "importlib" and "_bootstrap" because `warnings` leaves out frames of such files when it counts
stack levels: a warning raised by a watched module then names the line that imported it, as without us.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

#: Modules to tell `handler` of. `torch.cuda` rather than `torch` is where the capability can be told: it is ready
#: before other packages that `import torch` pulls in can ask. `torch` itself is watched for its failure, and
#: `rtx50_compat`, the predecessor, for its absence.
watched: "Container[str]" = frozenset(
    (
        "torch",
        "torch.cuda",
        "xformers",
        "xformers.ops.fmha.cutlass",
        "xformers.ops.fmha.dispatch",
        "flash_attn",
        "rtx50_compat",
    ),
)
#: The module that is told; imported when the first watched module has run.
handler = "rtx50_autoload.activation"
#: Through which door we came: "pth", "torch.backends" or "api"; None before `install`.
door: "str | None" = None
#: Whether a settings file says what RTX50_RESCUE=provide says, once that has been read.
provides = False
#: Faults of our own. They never reach the program; `status` and RTX50_DEBUG=1 show them.
faults: "list[Exception]" = []

#: This module, which goes on `sys.meta_path`: a program may take it out of `sys.modules`.
this: "Any" = sys.modules.get(__name__)

_WATCHING = "_rtx50_autoload_importlib_bootstrap_watching"


def disabled() -> "bool":
    """Tell whether the environment switches everything off. Asked at start-up and again when a watched import runs."""
    return _variable("RTX50_DISABLE") in ("1", "true", "yes", "on")


def _variable(name: "str") -> "str":
    # Not a global: `os` would live until this module goes, which is last, and cost Python's exit as much as our start.
    # Not imported: that would be an import inside an import.
    environ: Any = getattr(sys.modules.get("os"), "environ", {})
    value: str = environ.get(name, "")
    return value.lower()


def install(opened: "str" = "pth") -> "None":
    """Put this module on `sys.meta_path`, once: a venv runs each start-up line twice on Python <= 3.14 (gh-75723)."""
    global door  # noqa: PLW0603
    try:
        if this and not disabled() and this not in sys.meta_path:
            sys.meta_path.insert(0, this)
            door = opened
    except Exception as error:  # noqa: BLE001 - Python would print it at every start
        record(error)


def uninstall() -> "None":
    """Take this module off `sys.meta_path`.

    Never called from `find_spec`: until Python 3.14 the next finder would be skipped (gh-130094).
    """
    global door  # noqa: PLW0603
    if this in sys.meta_path:
        sys.meta_path.remove(this)
    door = None


def torch_backend() -> "None":
    """Second door: torch >= 2.5 calls this entry point at the end of `import torch`."""
    try:
        if not disabled():
            install("torch.backends")
            notify("torch_ready")
    except Exception as error:  # noqa: BLE001 - torch would fail its import
        record(error)


def find_spec(
    name: "str", path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
) -> "ModuleSpec | None":
    """Find a watched module as the finders after this one do, and arrange to hear of its execution."""
    try:
        if name not in watched or disabled():
            return None
        # An import inside an import, of a module that imports nothing.
        __import__(_WATCHING)
        watching: Any = sys.modules[_WATCHING]
        watching.hook = this
    except Exception as error:  # noqa: BLE001 - Python asks the finders after us by itself
        record(error)
        return None
    spec: ModuleSpec | None = watching.find_spec(name, path, target)
    return spec


def find_distributions(context: "Any") -> "Iterable[Any]":  # noqa: ANN401
    """Give what `importlib.metadata` asks every finder for: next to always, nothing."""
    try:
        return (notify("distributions", context) or ()) if wants_provided() and not disabled() else ()
    except Exception as error:  # noqa: BLE001 - who lists all distributions would have none
        record(error)
        return ()


def wants_provided() -> "bool":
    """Tell whether RTX50_RESCUE=provide is asked for, by the environment or by a settings file."""
    return provides or _variable("RTX50_RESCUE") == "provide"


def notify(event: "str", *arguments: "object") -> "Any":  # noqa: ANN401
    """Call the handler's function `event`, and give what it gives; what it raises is recorded, not passed on."""
    try:
        __import__(handler)
        return getattr(sys.modules[handler], event)(*arguments)
    except Exception as error:  # noqa: BLE001 - our fault must not cost the import
        record(error)
        return None


def record(error: "Exception") -> "None":
    """Keep a fault of ours, and show it where RTX50_DEBUG=1 asks for that."""
    try:
        faults.append(error)
        from rtx50_autoload import voice  # noqa: PLC0415

        voice.fault(error)
    except Exception:  # noqa: BLE001, S110 - nowhere left to say it
        pass
