"""HTML in which everything is escaped that was not made here. It must know no data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple


class Markup(str):
    """Text that is HTML already; every other text is escaped on its way into a tag."""

    __slots__ = ()


class Column(NamedTuple):
    """A column's title; figures stand at the right."""

    title: str
    is_figure: bool = False


def tag(name: str, *content: str, **attributes: str) -> Markup:
    """Make an element; ``class_`` and ``aria_label`` stand for what Python cannot spell."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{said}>{join(content)}</{name}>")


def join(parts: Iterable[str]) -> Markup:
    """Put parts after one another."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], class_: str = "") -> Markup:
    """Make a table; each cell repeats its column's title, for pages too narrow for columns."""
    heads = (
        tag("th", column.title, scope="col", class_="figure" if column.is_figure else "")
        for column in columns
    )
    body = (
        tag("tr", *(_cell(column, cell) for column, cell in zip(columns, row, strict=True)))
        for row in rows
    )
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *body), class_=class_)


def _cell(column: Column, content: str) -> Markup:
    return tag("td", content, class_="figure" if column.is_figure else "", data_title=column.title)
