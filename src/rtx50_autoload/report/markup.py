"""HTML and SVG that cannot be broken by what they show: every text is escaped unless it was made here."""

from __future__ import annotations

from html import escape

from rtx50_autoload.printable import printable

__all__ = ["Markup", "element", "joined"]


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: object) -> Markup:
    """Write an element.

    Args:
        tag: its name.
        children: what stands in it; a plain string is escaped.
        attributes: an underscore stands for a hyphen, one at the end is dropped: ``class_="x"``; None leaves it out.

    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_escaped(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{written}>{joined(children)}</{tag}>")


def joined(children: tuple[str, ...] | list[str]) -> Markup:
    """Write one behind the other."""
    return Markup("".join(child if isinstance(child, Markup) else _escaped(child) for child in children))


def _escaped(text: str) -> str:
    return escape(printable(text))
