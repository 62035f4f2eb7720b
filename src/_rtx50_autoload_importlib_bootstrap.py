"""The import hook of rtx50-autoload: all of it that runs at interpreter start.

`rtx50_autoload.pth` imports this module at every start of Python, so it imports nothing that Python has not loaded
already (not even `__future__` or `typing`), reads no file and prints nothing. It knows nothing of GPUs: it calls
``module_loaded(module)`` or ``module_failed(module, error)`` of the module named by `handler` when a module named in
`watched` has run, or has failed to. Where RTX50_RESCUE=provide wants that, it also asks ``module_missing(name)`` for a
module that nobody has, and ``distributions(context)`` for what `importlib.metadata` is to say of it. The name of this
file, of `install` and of `torch_backend` stand in files that outlive an upgrade (the start-up file, the entry point):
they never change.

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
#: before other packages that `import torch` pulls in can ask. `torch` itself is watched for its failure.
watched: "Container[str]" = frozenset(
    ("torch", "torch.cuda", "xformers", "xformers.ops.fmha.cutlass", "xformers.ops.fmha.dispatch", "flash_attn"),
)
#: The module that is told; imported when the first watched module has run.
handler = "rtx50_autoload.activation"
#: Through which door we came: "pth", "torch.backends" or "api"; None before `install`.
door: "str | None" = None
#: Whether a settings file says what RTX50_RESCUE=provide says, once that has been read.
provides = False
#: Faults of our own. They never reach the program; `status` and RTX50_DEBUG=1 show them.
faults: "list[Exception]" = []

# The loader that was marked last, by its module's name: the way to it where a proxy does not say what it stands for.
_marked: "dict[str, Any]" = {}
# Where a loader keeps its own `exec_module` attribute (another hook's, say) while ours is in its place.
_BEFORE_US = "_rtx50_autoload_exec_module"
# A proxy may lead back to itself.
_MOST_PROXIES = 8


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
        finder: Any = sys.modules[__name__]
        if not disabled() and finder not in sys.meta_path:
            sys.meta_path.insert(0, finder)
            door = opened
    except Exception as error:  # noqa: BLE001 - Python would print it at every start
        record(error)


def uninstall() -> "None":
    """Take this module off `sys.meta_path`.

    Never called from `find_spec`: until Python 3.14 the next finder would be skipped (gh-130094).
    """
    global door  # noqa: PLW0603
    finder: Any = sys.modules[__name__]
    if finder in sys.meta_path:
        sys.meta_path.remove(finder)
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
    """Find the module as the finders after this one do, and arrange to hear of its execution."""
    try:
        if name not in watched or disabled():
            return None
        finders = list(sys.meta_path)
        for place, finder in enumerate(finders):
            # Known by its function: a program may have taken this module out of sys.modules.
            if getattr(finder, "find_spec", None) is find_spec:
                del finders[: place + 1]
                break
    except Exception as error:  # noqa: BLE001 - Python asks the finders after us by itself
        record(error)
        return None
    for other in finders:
        # importlib.util.find_spec would start at the first finder again, and has dead-locked other tools.
        find = getattr(other, "find_spec", None)
        spec: ModuleSpec | None
        if find is None:
            # Python <= 3.11 asks a finder of the old protocol in this way; later ones pass it over.
            find = getattr(sys.modules["_frozen_importlib"], "_find_spec_legacy", None)
            spec = find and find(other, name, path)
        else:
            spec = find(name, path, target)
        if spec is not None:
            try:
                _watch(spec)
            except Exception as error:  # noqa: BLE001 - our fault must not cost the import
                record(error)
            return spec
    try:
        provided: ModuleSpec | None = notify("module_missing", name) if _provides() else None
    except Exception as error:  # noqa: BLE001 - nobody has the module, so that is the answer
        record(error)
        return None
    return provided


def find_distributions(context: "Any") -> "Iterable[Any]":  # noqa: ANN401
    """Give what `importlib.metadata` asks every finder for: next to always, nothing."""
    try:
        return (notify("distributions", context) or ()) if _provides() and not disabled() else ()
    except Exception as error:  # noqa: BLE001 - who lists all distributions would have none
        record(error)
        return ()


def _provides() -> "bool":
    return provides or _variable("RTX50_RESCUE") == "provide"


def _watch(spec: "ModuleSpec") -> "None":
    owner: Any = spec
    lazy: Any = getattr(sys.modules.get("importlib.util"), "LazyLoader", ())
    while isinstance(owner.loader, lazy):
        owner = owner.loader
    loader = owner.loader
    # A loader class (built-in, frozen) serves all its modules: a change of it would hit every one.
    if loader is None or isinstance(loader, type) or not hasattr(loader, "exec_module"):
        return
    if type(loader).__module__ == "zipimport":
        # One importer serves all modules of an archive; copy.copy would import `copy` inside an import.
        owner.loader = object.__new__(type(loader))
        owner.loader.__dict__.update(loader.__dict__)
        loader = owner.loader
    names = loader.__dict__
    if names.get("exec_module") is not exec_module:
        if "exec_module" in names:
            names[_BEFORE_US] = names["exec_module"]
        # The same function for every loader, so that equal specs stay equal.
        names["exec_module"] = exec_module
    _marked[spec.name] = loader


def exec_module(module: "ModuleType") -> "None":
    """Stand in as a loader's `exec_module` for one call: run the module as its loader does, then tell the handler."""
    try:
        run, heard = _unmark(module)
    except Exception as error:  # noqa: BLE001 - the module is to run all the same; nobody hears of it then
        record(error)
        loader: Any = _marked.get(module.__name__) or module.__spec__.loader  # type: ignore[union-attr]
        own = loader.__dict__.get(_BEFORE_US) or loader.__dict__.get("exec_module", exec_module)
        run, heard = type(loader).exec_module.__get__(loader) if own is exec_module else own, False
    try:
        run(module)
    except BaseException as error:
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next
        if heard and isinstance(error, Exception) and notify("module_failed", module, error):
            return  # another module stands in its place
        raise
    if heard:
        notify("module_loaded", module)


def _unmark(module: "ModuleType") -> "tuple[Any, bool]":
    """Take the mark off a module's loader; give its own `exec_module`, and whether the module is a watched one."""
    loader = _carrier(module)
    names = loader.__dict__
    heard = module.__name__ in watched
    before = names.get(_BEFORE_US)
    if not heard or names.get("exec_module") is not exec_module:
        # Another module of a loader that serves several; or another hook that put itself before us on this loader.
        return before or type(loader).exec_module.__get__(loader), heard
    if before is None:
        del names["exec_module"]
    else:
        names["exec_module"] = before
        del names[_BEFORE_US]
    return loader.exec_module, heard


def _carrier(module: "ModuleType") -> "Any":  # noqa: ANN401
    """Give the loader that `_watch` marked: another hook may have put its proxy around it meanwhile."""
    found = None
    try:
        loader: Any = getattr(getattr(module, "__spec__", None), "loader", None)
        for _ in range(_MOST_PROXIES):
            if getattr(loader, "__dict__", {}).get("exec_module") is exec_module:
                found = loader
            loader = getattr(loader, "__wrapped__", None) or getattr(loader, "loader", None)
    except Exception as error:  # noqa: BLE001 - our fault must not cost the import
        record(error)
    return _marked[module.__name__] if found is None else found


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
