import pytest

from trading_app import palette
from trading_app.ui.style import style_sheet, theme_options

TEXTS = ["BUY", "SELL", "NEUTRAL", "WARNING", "DANGER", "TEXT", "MUTED"]


def luminance(colour):
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("ground", [palette.PAGE, palette.PANEL])
def test_every_text_colour_reaches_wcag_aa_on_page_and_panel_in_both_themes(name, ground):
    shades = getattr(palette, name)
    assert contrast(shades.light, ground.light) >= 4.5
    assert contrast(shades.dark, ground.dark) >= 4.5


@pytest.mark.parametrize("side", [palette.BUY, palette.SELL])
def test_the_words_on_buy_and_sell_reach_wcag_aa(side):
    assert contrast(palette.ON_ACTION.light, side.light) >= 4.5
    assert contrast(palette.ON_ACTION.dark, side.dark) >= 4.5


@pytest.mark.parametrize("mark", [palette.BUY_MARK, palette.SELL_MARK, palette.NEUTRAL_MARK])
def test_bars_and_lines_stand_out_in_both_themes(mark):
    assert contrast(mark, palette.PANEL.light) >= 2.9
    assert contrast(mark, palette.PANEL.dark) >= 3.0


def test_the_style_sheet_and_the_theme_carry_the_palette():
    sheet, options = style_sheet(), theme_options()
    assert f"--buy:light-dark({palette.BUY.light},{palette.BUY.dark})" in sheet
    assert options["theme.dark.backgroundColor"] == palette.PAGE.dark
    used = {part.split(")")[0] for part in sheet.split("var(--")[1:]}
    assert all(f"--{name}:" in sheet for name in used)
