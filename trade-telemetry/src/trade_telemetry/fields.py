"""What each field of a trade may be: types and limits, for every message that carries trades."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Final, Literal

import msgspec

QTY_MAX: Final = 1e15
SYMBOL_PATTERN: Final = r"^[A-Za-z0-9._:/-]{1,24}\Z"
NAME_LENGTH_MAX: Final = 64

Side = Literal["buy", "sell"]
Quantity = Annotated[float, msgspec.Meta(ge=0, le=QTY_MAX)]
Timestamp = Annotated[float, msgspec.Meta(gt=0)]
Symbol = Annotated[str, msgspec.Meta(pattern=SYMBOL_PATTERN)]
Name = Annotated[str, msgspec.Meta(max_length=NAME_LENGTH_MAX)]
"""A text whose pattern is checked apart."""
Price = Annotated[float, msgspec.Meta(gt=0)]

# The same few names come again and again, and a pattern costs more than all the rest of a trade.
is_symbol: Final = lru_cache(1_024)(re.compile(SYMBOL_PATTERN).match)
