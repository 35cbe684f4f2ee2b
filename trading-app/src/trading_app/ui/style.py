"""The look of the pages: one style sheet, made from the palette. It must know no data."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from trading_app import palette
from trading_app.palette import Shades

_SHEET: Final = Path(__file__).with_name("style.css")


def style_sheet() -> str:
    """Make the pages' CSS in a ``<style>`` element; its colours follow the theme by themselves."""
    colours = "".join(
        f"--{name.lower().replace('_', '-')}:light-dark({shades.light},{shades.dark});"
        for name, shades in vars(palette).items()
        if isinstance(shades, Shades)
    )
    colours += f"--buy-mark:{palette.BUY_MARK};--sell-mark:{palette.SELL_MARK};"
    return f"<style>.stApp{{{colours}}}\n{_SHEET.read_text(encoding='utf-8')}</style>"


def theme_options() -> dict[str, object]:
    """Streamlit's own theme settings for both themes, by dotted option name."""
    roles = {
        "primaryColor": palette.NEUTRAL,
        "backgroundColor": palette.PAGE,
        "secondaryBackgroundColor": palette.PANEL,
        "textColor": palette.TEXT,
        "borderColor": palette.LINE,
    }
    options: dict[str, object] = {"theme.baseRadius": "8px", "theme.showWidgetBorder": True}
    for role, shades in roles.items():
        options[f"theme.light.{role}"] = shades.light
        options[f"theme.dark.{role}"] = shades.dark
    return options
