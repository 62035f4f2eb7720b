"""Directives that write tables from the package itself, so that pages cannot drift: settings, profiles, categories.

``{rtx50-settings}`` holds what each setting means, as ``name: text`` with further lines indented; names, defaults and
allowed values come from `rtx50_autoload.settings.FIELDS`, and a setting without a text, or a text without a setting,
is an error. ``{rtx50-profiles}`` and ``{rtx50-categories}`` take nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from rtx50_autoload.diagnosis.categories import load_categories
from rtx50_autoload.masquerading.profiles import load_profiles
from rtx50_autoload.settings import FIELDS

if TYPE_CHECKING:
    from sphinx.application import Sphinx

    from rtx50_autoload.masquerading.profiles import Profile, Rule

_ENTRY = re.compile(r"([a-z_]+):(?: (.*))?")
_TOLD = {"target": "the target", "truth": "the truth"}


class SettingsDirective(SphinxDirective):
    """Describe every setting of the package in the package's order."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Give one description for each setting, which the role `envvar` can link to."""
        meanings = self._meanings()
        known = [field.name for field in FIELDS]
        if list(meanings) != known:
            raise self.error(f"the settings are {known}, but described are {list(meanings)}")
        lines: list[str] = []
        for field in FIELDS:
            default = f"`{field.default}`" if field.default else "empty"
            lines += [
                f":::{{envvar}} {field.variable}",
                *meanings[field.name],
                "",
                f"In a settings file: `{field.name}` · Default: {default} · Allowed: {field.allowed}",
                ":::",
                "",
            ]
        parent = nodes.container()
        source, line = self.get_source_info()
        self.state.nested_parse(StringList(lines, source=source), line, parent)
        return parent.children

    def _meanings(self) -> dict[str, list[str]]:
        meanings: dict[str, list[str]] = {}
        for line in self.content:
            entry = _ENTRY.fullmatch(line)
            if entry:
                meanings[entry[1]] = [entry[2] or ""]
            elif line and not line.startswith(" "):
                raise self.error(f"neither 'name: text' nor an indented line: {line!r}")
            elif meanings:
                next(reversed(meanings.values())).append(line.strip())
        return meanings


class ProfilesDirective(SphinxDirective):
    """Write the table of all library profiles."""

    def run(self) -> list[nodes.Node]:
        """Give the table: one row for each rule of each profile."""
        rows = [
            self._row(profile, rule, first=rule is profile.rules[0])
            for profile in load_profiles()
            for rule in profile.rules
        ]
        return [_table(("library", "versions", "told", "reason and source"), (22, 14, 14, 50), rows, "profiles")]

    def _row(self, profile: Profile, rule: Rule, *, first: bool) -> nodes.row:
        told = _TOLD[rule.report]
        if rule.report == "truth" and profile.masquerade == "target":
            told += " (in `masquerade` mode: the target)"
        beside = f"; set beside it: {', '.join(rule.adjust)}" if rule.adjust else ""
        reason = f"{rule.reason[:1].upper()}{rule.reason[1:]}{beside}"
        source = nodes.paragraph("", rule.source, classes=["source"])
        cells = [
            nodes.entry("", _versions(profile, rule), classes=["versions"]),
            nodes.entry("", text(told), classes=["told"]),
            nodes.entry("", nodes.paragraph("", f"{reason}."), source),
        ]
        if first:
            cells.insert(0, nodes.entry("", _modules(profile), classes=["library"], morerows=len(profile.rules) - 1))
        return nodes.row("", *cells)


class CategoriesDirective(SphinxDirective):
    """Write the table of what an error can be."""

    def run(self) -> list[nodes.Node]:
        """Give the table: one row for each category."""
        rows = [
            nodes.row(
                "",
                nodes.entry("", nodes.paragraph("", "", nodes.literal("", name))),
                nodes.entry("", text(category.title)),
                nodes.entry("", text(category.mended_by or "nothing has to be mended, or nothing is known")),
            )
            for name, category in load_categories().items()
        ]
        return [_table(("category", "what is wrong", "what mends it"), (30, 40, 30), rows, "categories")]


def _table(titles: tuple[str, ...], widths: tuple[int, ...], rows: list[nodes.row], name: str) -> nodes.table:
    head = nodes.row("", *(nodes.entry("", nodes.paragraph("", title)) for title in titles))
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in widths), cols=len(widths))
    group += [nodes.thead("", head), nodes.tbody("", *rows)]
    return nodes.table("", group, classes=[name])


def _modules(profile: Profile) -> nodes.paragraph:
    paragraph = nodes.paragraph()
    for number, module in enumerate(profile.modules):
        paragraph += [nodes.Text(", "), nodes.literal("", module)] if number else nodes.literal("", module)
    name = profile.library.removeprefix(profile.modules[0]).strip(" ()")
    if name:
        paragraph += nodes.Text(f" ({name})")
    return paragraph


def _versions(profile: Profile, rule: Rule) -> nodes.paragraph:
    if not rule.versions:
        return nodes.paragraph("", "all" if rule is profile.rules[0] else "all others")
    tail = ", or not known" if rule.unversioned else ""
    return nodes.paragraph("", "", nodes.literal("", rule.versions), nodes.Text(tail))


def text(text: str) -> nodes.paragraph:
    """Make a paragraph in which single backticks mark code."""
    pieces = text.split("`")
    return nodes.paragraph(
        "", "", *(nodes.literal("", piece) if number % 2 else nodes.Text(piece) for number, piece in enumerate(pieces))
    )


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directives."""
    app.add_directive("rtx50-settings", SettingsDirective)
    app.add_directive("rtx50-profiles", ProfilesDirective)
    app.add_directive("rtx50-categories", CategoriesDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
