"""The colours of the desk, one meaning each: plain constants that pages and boards share.

Every colour has a shade for a light and one for a dark background. Text shades reach WCAG AA
(4.5 : 1) on page and panel; ``…_MARK`` is for lines and bars (3 : 1). It must know no toolkit.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Shades(NamedTuple):
    """One meaning in both themes, as ``#RRGGBB``."""

    light: str
    dark: str


BUY_MARK: Final = "#0F9D8A"
SELL_MARK: Final = "#E4752B"
NEUTRAL_MARK: Final = "#4C78A8"
WARNING_MARK: Final = "#BD8400"
DANGER_MARK: Final = "#D9483B"

BUY: Final = Shades("#0A7466", "#35C2AE")
SELL: Final = Shades("#AD4C0D", "#F2955A")
NEUTRAL: Final = Shades("#3B6592", "#8DB3DA")
WARNING: Final = Shades("#8A5A00", "#F0B429")
DANGER: Final = Shades("#B42318", "#FF8A80")

TEXT: Final = Shades("#1B2430", "#E6EAF0")
MUTED: Final = Shades("#56616F", "#9BA7B6")
PAGE: Final = Shades("#F6F7F9", "#10151C")
PANEL: Final = Shades("#FFFFFF", "#171E27")
LINE: Final = Shades("#DDE2E8", "#2A3441")
BUY_ACTION: Final = Shades(BUY.light, BUY_MARK)
SELL_ACTION: Final = Shades(SELL.light, SELL_MARK)
ON_ACTION: Final = Shades("#FFFFFF", "#08120F")
"""Text on a Buy or Sell button, whose ground is the ``…_ACTION`` of its side."""
