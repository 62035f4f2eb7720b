"""Source text of ours with a place before and after every statement, at which a test can have an error raised.

A place is known as ``module:function:line:column:when``. *When* is ``before`` a statement has done anything, or
``after`` the last statement of a block has done what it does: what is half done is then done. The function of a place
is its qualified name; ``<module>`` is the body of a module. Nothing else changes: lines, frames and names stay.

A statement that cannot fail has no place: it names, compares by identity, or hands on what is there already. A
statement that calls what belongs to the program (its own hook, the function that it has decorated) has none either:
an error there is the program's own. These are named in `PROGRAMS_OWN`, so that they can be counted.
"""

from __future__ import annotations

import ast
from typing import Final

__all__ = ["CALL", "PROGRAMS_OWN", "first_places", "functions", "plant"]

#: The function that every place calls; it stands among the built-in ones, for code of ours is lent to other modules.
CALL: Final = "_rtx50_autoload_tests_place"
_VALUE: Final = "_rtx50_autoload_tests_value"

#: The statements that call what is not ours, by module: there an error is the program's or torch's own.
PROGRAMS_OWN: Final = {
    # What is called there calls these.
    "_rtx50_autoload_importlib_bootstrap": ("spec: ModuleSpec | None = watching.find_spec(name, path, target)",),
    "_rtx50_autoload_importlib_bootstrap_watching": (
        "spec = find and find(other, name, path)",
        "spec = find(name, path, target)",
        "run(module)",
    ),
    "rtx50_autoload.errorhooks.accelerator": ("create(self, *arguments, **options)",),
    "rtx50_autoload.errorhooks.asyncio_loop": ("handle(self, context)",),
    "rtx50_autoload.errorhooks.before_3_11": (
        "create(self, exc_type, exc_value, *arguments, **options)",
        "yield from lines(self)",
    ),
    "rtx50_autoload.errorhooks.guard": (
        "return await function(*arguments, **options)",
        "return (yield from function(*arguments, **options))",
        "return function(*arguments, **options)",
    ),
    "rtx50_autoload.errorhooks.notebook": (
        "found = get(self, *arguments, **options)",
        "lines = format_(self, *arguments, **options)",
    ),
    "rtx50_autoload.errorhooks.uncaught": ("previous(kind, error, trace)", "previous_of_threads(arguments)"),
    "rtx50_autoload.masquerading.torch_cuda": (
        "prop = get_device_properties(device)",
        "return (prop.major, prop.minor)",
    ),
}

#: Whose body holds nothing that can fail, and nobody before it could catch it.
_START = "_rtx50_autoload_importlib_bootstrap"
#: Functions that never raise: what fails in them, fails inside of a `try`.
_SAFE = frozenset(
    {"_after", "hook.notify", "hook.record", "isinstance", "notify", "record", "self._attend", "self._passes"}
)

_BLOCKS = ("body", "orelse", "finalbody")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def plant(source: str, module: str) -> ast.Module:
    """Give the tree of a module with its places."""
    tree = ast.parse(source)
    _Planter(module).block(tree.body, "<module>", tree)
    return ast.fix_missing_locations(tree)


def functions(source: str) -> dict[str, int]:
    """Give every function, method and lambda of a module by qualified name and line, with its line."""
    found: dict[str, int] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, _FUNCTIONS):
                name = f"{prefix}{getattr(child, 'name', '<lambda>')}"
                if not _is_declared_only(child):
                    found[f"{name}:{child.lineno}"] = child.lineno
                visit(child, f"{name}.")
            elif isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}.")
            else:
                visit(child, prefix)

    visit(ast.parse(source), "")
    return found


def first_places(places: list[str]) -> list[str]:
    """Give, in their order, the first place of each function among places that were passed in this order."""
    return list({tuple(place.split(":")[:2]): place for place in reversed(places)}.values())[::-1]


def _is_declared_only(node: ast.AST) -> bool:
    """Tell whether a function has no body: a method of a protocol has a docstring and nothing else."""
    body = getattr(node, "body", None)
    return isinstance(body, list) and len(body) == 1 and _is_docstring(body[0])


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


class _Planter:
    def __init__(self, module: str) -> None:
        self._module = module
        self._programs_own = PROGRAMS_OWN.get(module, ())

    def block(self, statements: list[ast.stmt], function: str, owner: ast.AST) -> None:
        """Plant in a block of statements, and in those below."""
        planted: list[ast.stmt] = []
        for number, statement in enumerate(statements):
            last = number == len(statements) - 1
            if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
                planted.append(statement)
                continue
            self._inside(statement, function)
            if function == "<module>" and self._module == _START:
                planted.append(statement)
                continue
            if _may_fail(statement) and ast.unparse(statement) not in self._programs_own:
                planted.append(self._place(statement, function, "before"))
            if isinstance(statement, ast.Return) and statement.value is not None and _may_fail(statement):
                name = ast.Name(_VALUE, ast.Store())
                kept = ast.Assign([name], statement.value)
                back = ast.Return(ast.Name(_VALUE, ast.Load()))
                after = self._place(statement, function, "after")
                planted += [ast.copy_location(node, statement) for node in (kept, after, back)]
                continue
            planted.append(statement)
            simple = isinstance(statement, (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete))
            # A function that ends with its last statement has nothing left that could fail.
            if last and simple and _may_fail(statement) and not isinstance(owner, (*_FUNCTIONS, ast.Module)):
                planted.append(self._place(statement, function, "after"))
        statements[:] = planted

    def _inside(self, statement: ast.AST, function: str) -> None:
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.Lambda):
                self._inside(child, function)
                self._in_lambda(child, function)
            elif not isinstance(child, ast.stmt) and not isinstance(child, (ast.ExceptHandler, ast.match_case)):
                self._inside(child, function)
        below = function
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            prefix = "" if function == "<module>" else f"{function}."
            below = f"{prefix}{statement.name}"
        if isinstance(statement, ast.ClassDef):
            # A class is made when its module is: a fault there is one of the module's import.
            for each in statement.body:
                self._inside(each, below)
            return
        for name in _BLOCKS:
            block = getattr(statement, name, None)
            if isinstance(block, list):
                self.block(block, below, statement)
        for handler in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            self.block(handler.body, below, handler)

    def _in_lambda(self, node: ast.Lambda, function: str) -> None:
        prefix = "" if function == "<module>" else f"{function}."
        place = self._place(node, f"{prefix}<lambda>", "before").value
        node.body = ast.copy_location(ast.BoolOp(ast.Or(), [place, node.body]), node)

    def _place(self, node: ast.stmt | ast.Lambda, function: str, when: str) -> ast.Expr:
        name = f"{self._module}:{function}:{node.lineno}:{node.col_offset}:{when}"
        call = ast.Call(ast.Name(CALL, ast.Load()), [ast.Constant(name)], [])
        return ast.copy_location(ast.Expr(call), node)


def _may_fail(statement: ast.stmt) -> bool:
    """Tell whether a statement does anything of its own that can fail; what stands in its blocks is not looked at."""
    if isinstance(statement, (ast.Import, ast.ImportFrom, ast.With, ast.AsyncWith)):
        return True
    looked_at: list[ast.expr] = []
    if isinstance(statement, (ast.If, ast.While)):
        looked_at = [statement.test]
    elif isinstance(statement, (ast.For, ast.AsyncFor, ast.With, ast.AsyncWith)):
        return True
    elif isinstance(statement, (ast.Return, ast.Expr)):
        looked_at = [] if statement.value is None else [statement.value]
    elif isinstance(statement, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete)):
        looked_at = [node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.expr)]
        if isinstance(statement, ast.AnnAssign):
            looked_at.remove(statement.annotation)
    return any(map(_can_raise, looked_at))


def _can_raise(value: ast.expr) -> bool:  # noqa: PLR0911 - one for each kind
    if isinstance(value, (ast.Constant, ast.Name, ast.Lambda)):
        return False
    if isinstance(value, ast.Call) and ast.unparse(value.func) in _SAFE:
        return any(map(_can_raise, value.args))
    if isinstance(value, ast.Attribute):
        # A property of ours has a place of its own; `__traceback__` and the like are always there.
        known = isinstance(value.value, ast.Name) and (value.value.id == "self" or value.attr.startswith("__"))
        return not known and (not _is_an_error(value.value) or _can_raise(value.value))
    if isinstance(value, (ast.Tuple, ast.List)):
        return any(map(_can_raise, value.elts))
    if isinstance(value, ast.BoolOp):
        return any(map(_can_raise, value.values))
    if isinstance(value, ast.UnaryOp):
        return not isinstance(value.op, ast.Not) or _can_raise(value.operand)
    if isinstance(value, ast.Compare):
        by_identity = all(isinstance(operator, (ast.Is, ast.IsNot)) for operator in value.ops)
        return not by_identity or any(map(_can_raise, (value.left, *value.comparators)))
    return True


def _is_an_error(value: ast.expr) -> bool:
    return isinstance(value, ast.Attribute) and value.attr == "__traceback__"
