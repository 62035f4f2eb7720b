"""What mends an error of each category, on the machine in question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .case import Case
from .diagnosis import FixStep
from .recipes import load_plans, load_recipes
from .words import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

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
#: Where the system is not known, variables are set as in Linux.
_ANY_SYSTEM: Final = "system-unknown"
_OF_VARIABLES: Final = ("set", "unset", "path")
_FOR_WINDOWS: Final = (
    " The commands are for Linux; in Windows' Command Prompt it is `set NAME=VALUE` instead of `export NAME=VALUE`, "
    "and folders are named as there."
)


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
    case = Case(category, situation, values, culprit)
    words = words_of(case)
    facts = case.facts | {f"knows-{name}" for name in words}
    return tuple(_written(recipe, case, facts, words) for recipe in _recipes(case, facts))


def _recipes(case: Case, facts: frozenset[str]) -> Iterable[Recipe]:
    own, fallback = load_plans()[case.category], load_plans()[_FALLBACK]
    chosen: list[Recipe] = []
    for entry in _of_kind(own, case.kind) or _of_kind(fallback, case.kind):
        name, _, condition = entry.partition("?")
        if not _holds(condition, facts):
            continue
        if name not in (_BY_LIBRARY, _FIT):
            chosen += _fitting((name,), facts)
        elif of_library := _fitting(_of_library(name, case), facts):
            chosen += of_library
            break
    # One may stand in a list twice, with different conditions.
    return {recipe.id: recipe for recipe in chosen}.values()


def _holds(condition: str, facts: frozenset[str]) -> bool:
    parts = condition.split("&") if condition else ()
    return all((part.lstrip("!") in facts) is not part.startswith("!") for part in parts)


def _of_kind(table: Mapping[str, tuple[str, ...]], kind: Kind) -> tuple[str, ...]:
    return next((table[each] for each in _BROADER.get(kind, (kind, "any")) if each in table), ())


def _of_library(placeholder: str, case: Case) -> tuple[str, ...]:
    if case.build is None:
        return ()
    return case.build.fit if placeholder == _FIT else _of_kind(case.build.steps, case.kind)


def _fitting(entries: tuple[str, ...], facts: frozenset[str]) -> list[Recipe]:
    named = (entry.partition("?") for entry in entries)
    recipes = [load_recipes()[name] for name, _, condition in named if _holds(condition, facts)]
    return [recipe for recipe in recipes if recipe.fits(facts)]


def _written(recipe: Recipe, case: Case, facts: frozenset[str], words: Mapping[str, str]) -> FixStep:
    texts = recipe.texts(facts)
    commands = [[word.format_map(words) for word in command] for command in texts["commands"]]
    sets_variables = any(verb in _OF_VARIABLES for verb, *_ in commands)
    return FixStep(
        step=texts["step"].format_map(words),
        why=texts["why"].format_map(words),
        commands=tuple(_typed(case, *command) for command in commands),
        changes=texts["changes"].format_map(words) + (_FOR_WINDOWS if sets_variables and _ANY_SYSTEM in facts else ""),
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
        "loader": lambda folder: typist.prepend_package_folder("LD_LIBRARY_PATH", folder),
        "run": typist.line,
        "ours": case.run_ours,
    }
    return verbs[verb](*rest)
