"""What mends an error of each category, on the machine in question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rtx50_autoload.commands import Typist

from .case import Case
from .diagnosis import FixStep
from .recipes import load_plans, load_recipes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .case import Kind
    from .recipes import Recipe
    from .situation import Situation

__all__ = ["plan"]

#: Stand in a list for steps of the library at fault; the rest of the list is for where there are none.
_BY_LIBRARY: Final = "@library"
_FIT: Final = "@fit"
#: Kinds of GPU that fall back on others where a table names none for them.
_BROADER: Final[Mapping[str, tuple[str, ...]]] = {
    "new": ("new", "nvidia", "any"),
    "current": ("current", "nvidia", "any"),
    "old": ("old", "nvidia", "any"),
    "ancient": ("ancient", "old", "nvidia", "any"),
    "unknown": ("unknown", "any"),
}
#: The category whose plans serve GPUs that another one says nothing of.
_FALLBACK: Final = "*"
_OLD_GPU: Final = "no_kernel_image_old_gpu"


def plan(
    category: str, situation: Situation, values: Mapping[str, str], culprit: str | None = None
) -> tuple[FixStep, ...]:
    """Give the steps that mend an error, first step first.

    Args:
        category: as in `Diagnosis`.
        situation: what is known of the machine.
        values: what the signature took from the text, by name: ``library``, ``arch`` (``"120"``), ``file``,
            ``symbol``, ``module``, ``package``, ``required``, ``limit`` and the like.
        culprit: the binary or package at fault, where that is known.

    Returns:
        nothing for the categories that abstain, and where nothing has to be done.

    """
    if category == _FALLBACK or category not in load_plans():
        return ()
    case = Case(situation, values, culprit, about_old_gpu=category == _OLD_GPU)
    return tuple(_written(recipe, case) for recipe in _recipes(category, case))


def _recipes(category: str, case: Case) -> list[Recipe]:
    own, fallback = load_plans()[category], load_plans()[_FALLBACK]
    names = _of_kind(own, case.kind) or _of_kind(fallback, case.kind)
    for at, name in enumerate(names):
        if name in (_BY_LIBRARY, _FIT):
            of_library = _fitting(_of_library(name, case), case)
            before = _fitting(names[:at], case)
            return before + of_library if of_library else before + _fitting(names[at + 1 :], case)
    return _fitting(names, case)


def _of_kind(table: Mapping[str, tuple[str, ...]], kind: Kind) -> tuple[str, ...]:
    return next((table[each] for each in _BROADER.get(kind, (kind, "any")) if each in table), ())


def _of_library(placeholder: str, case: Case) -> tuple[str, ...]:
    if case.build is None:
        return ()
    return case.build.fit if placeholder == _FIT else _of_kind(case.build.steps, case.kind)


def _fitting(names: tuple[str, ...], case: Case) -> list[Recipe]:
    recipes = []
    for entry in names:
        name, _, fact = entry.partition("?")
        if (not fact or fact in case.facts) and (recipe := load_recipes()[name]).fits(case.facts):
            recipes.append(recipe)
    return recipes


def _written(recipe: Recipe, case: Case) -> FixStep:
    texts, words = recipe.texts(case.facts), case.words
    commands = [[word.format_map(words) for word in command] for command in texts["commands"]]
    on_windows = "".join(_on_windows(*command) for command in commands) if "system-unknown" in case.facts else ""
    return FixStep(
        step=texts["step"].format_map(words) + on_windows,
        why=texts["why"].format_map(words),
        commands=tuple(_typed(case, *command) for command in commands),
        changes=texts["changes"].format_map(words),
        check=texts["check"].format_map(words),
    )


def _typed(case: Case, verb: str, *rest: str) -> str:
    typist = case.typist
    verbs: dict[str, Callable[..., str]] = {
        "pip": typist.pip,
        "python": typist.run_python,
        "torch": case.install_torch,
        "set": typist.set_variable,
        "unset": typist.unset_variable,
        "path": lambda folder: typist.prepend("PATH", folder),
        "run": typist.line,
        "ours": case.run_ours,
    }
    return verbs[verb](*rest)


def _on_windows(verb: str, *rest: str) -> str:
    """Say how a variable is set in Windows' Command Prompt, where the system is not known and Linux is assumed."""
    typist = Typist("cmd", "")
    if verb not in ("set", "unset"):
        return ""
    return f" (In Windows' Command Prompt: {typist.set_variable(*rest) if rest[1:] else typist.unset_variable(*rest)})"
