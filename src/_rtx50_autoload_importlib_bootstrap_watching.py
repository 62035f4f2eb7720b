"""What the import hook does for a watched module: it finds it, and hears when it has run or failed.

The hook loads this module when the first watched module is looked for, in the middle of that import, so it imports
nothing that Python has not loaded already. A program that runs while the package is upgraded has the hook from before
and this from after: the name of this file, `hook` and `find_spec` with its arguments never change. For the name's words
see there.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

#: The hook, which says so itself before it calls: there may be another module of its name by then.
hook: "Any" = None

# The loader that was marked last, by its module's name: the way to it where a proxy does not say what it stands for.
_marked: "dict[str, Any]" = {}
# Where a loader keeps its own `exec_module` attribute (another hook's, say) while ours is in its place.
_BEFORE_US = "_rtx50_autoload_exec_module"
# A proxy may lead back to itself.
_MOST_PROXIES = 8
# The module that is left alone where somebody has it, and asked for where nobody does, whatever RTX50_RESCUE says.
_PREDECESSOR = "rtx50_compat"


def find_spec(name: "str", path: "Sequence[str] | None", target: "ModuleType | None") -> "ModuleSpec | None":
    """Find the module as the finders after the hook do, and arrange to hear of its execution."""
    try:
        finders = list(sys.meta_path)
        for place, finder in enumerate(finders):
            # Known by its function: it may be another module of the hook's name.
            if getattr(finder, "find_spec", None) is hook.find_spec:
                del finders[: place + 1]
                break
    except Exception as error:  # noqa: BLE001 - Python asks the finders after us by itself
        hook.record(error)
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
                if name != _PREDECESSOR:
                    _watch(spec)
            except Exception as error:  # noqa: BLE001 - our fault must not cost the import
                hook.record(error)
            return spec
    try:
        wanted = name == _PREDECESSOR or hook.wants_provided()
        provided: ModuleSpec | None = hook.notify("module_missing", name) if wanted else None
    except Exception as error:  # noqa: BLE001 - nobody has the module, so that is the answer
        hook.record(error)
        return None
    return provided


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
        hook.record(error)
        loader: Any = _marked.get(module.__name__) or module.__spec__.loader  # type: ignore[union-attr]
        own = loader.__dict__.get(_BEFORE_US) or loader.__dict__.get("exec_module", exec_module)
        run, heard = type(loader).exec_module.__get__(loader) if own is exec_module else own, False
    try:
        run(module)
    except BaseException as error:
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next
        if heard and isinstance(error, Exception) and hook.notify("module_failed", module, error):
            return  # another module stands in its place
        raise
    if heard:
        hook.notify("module_loaded", module)


def _unmark(module: "ModuleType") -> "tuple[Any, bool]":
    """Take the mark off a module's loader; give its own `exec_module`, and whether the module is a watched one."""
    loader = _carrier(module)
    names = loader.__dict__
    heard = module.__name__ in hook.watched
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
        hook.record(error)
    return _marked[module.__name__] if found is None else found
