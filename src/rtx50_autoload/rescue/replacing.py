"""How a library's function is made to ask us: another `__code__`, as for torch's own functions.

The function keeps its identity, so that references bound before see the change, pickles by name, and is the very same
object again when its own code comes back. The lent code is written for each function: it takes exactly what the
function takes, so that calls, signatures and wrong arguments stay what they are, and it says that it stands where the
function stands, so that tracebacks and `inspect.getsource` show the library's own lines.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import FunctionType
from typing import TYPE_CHECKING, Any

from rtx50_autoload.masquerading.patch import CodePatch

if TYPE_CHECKING:
    from types import CodeType, ModuleType

    from .watched import Watched

__all__ = ["copy_of", "patch_for"]

# The hot path. What it calls while nothing has failed: the function's own code, and torch to learn whether a compiler
# is tracing it, in which case an error would come later, out of compiled code, and has to be foreseen. Where our name
# is gone, another thread has taken the change back since this call began.
_TEMPLATE = """
def {name}({parameters}):
    try:
        _rtx50_autoload_watched = {lent}
    except NameError:
        return {name}({arguments})
    if _rtx50_autoload_watched.is_compiling():
        if _rtx50_autoload_watched.fails_traced({named}):
            return _rtx50_autoload_watched.traced({named})
        return _rtx50_autoload_watched.original({arguments})
    _rtx50_autoload_tried = None
    if _rtx50_autoload_watched.alert:
        _rtx50_autoload_tried = _rtx50_autoload_watched.before({named})
        if _rtx50_autoload_tried is not None and _rtx50_autoload_tried.error is None:
            return _rtx50_autoload_tried.value
    try:
        return _rtx50_autoload_watched.original({arguments})
    except Exception as _rtx50_autoload_error:
        _rtx50_autoload_tried = _rtx50_autoload_watched.after(_rtx50_autoload_error, _rtx50_autoload_tried, {named})
        if _rtx50_autoload_tried is None:
            _rtx50_autoload_watched.clean(_rtx50_autoload_error)
            raise
    return _rtx50_autoload_tried.value
"""


@dataclass(frozen=True, slots=True)
class _Parameters:
    """The parameters of a function, as source text."""

    declared: str
    passed: str
    named: str

    @classmethod
    def of(cls, code: CodeType) -> _Parameters:
        names = code.co_varnames
        positional, count = names[: code.co_argcount], code.co_argcount + code.co_kwonlyargcount
        keyword_only = names[code.co_argcount : count]
        if code.co_flags & (CO_VARARGS | CO_VARKEYWORDS) or code.co_posonlyargcount:
            raise TypeError("it takes arguments that have no names")
        star = ["*"] if keyword_only else []
        return cls(
            ", ".join((*positional, *star, *keyword_only)),
            ", ".join((*positional, *(f"{name}={name}" for name in keyword_only))),
            "{" + ", ".join(f"{name!r}: {name}" for name in (*positional, *keyword_only)) + "}",
        )


def copy_of(function: FunctionType) -> FunctionType:
    """Give another function that does what this one does now, whatever becomes of this one's code."""
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__qualname__ = function.__qualname__
    copy.__module__ = function.__module__
    return copy


def patch_for(module: ModuleType, watched: Watched) -> CodePatch:
    """Give the change that makes a module's function ask `watched`.

    Raises:
        TypeError: it is no plain function of the module whose arguments all have names.

    """
    function: Any = getattr(module, watched.name)
    if not isinstance(function, FunctionType) or function.__closure__:
        raise TypeError("it is no plain function")
    code = function.__code__
    lent = f"_rtx50_autoload_{watched.name}"
    parameters = _Parameters.of(code)
    source = _TEMPLATE.format(
        name=watched.name,
        lent=lent,
        parameters=parameters.declared,
        arguments=parameters.passed,
        named=parameters.named,
    )
    tree = ast.parse(source.strip())
    place = {"lineno": code.co_firstlineno, "end_lineno": code.co_firstlineno, "col_offset": 0, "end_col_offset": 0}
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            vars(node).update(place)
    made: dict[str, Any] = {}
    # Nothing goes into the text but the names of the compiled function that is replaced.
    exec(compile(tree, code.co_filename, "exec"), made)  # noqa: S102
    return CodePatch(watched.target, module, function, made[watched.name], {lent: watched})
