"""The fields that tell a publisher's events apart: its name, its epochs, its sequences."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

STAMP_MAX: Final = 2**53 - 1
"""The largest epoch and sequence: more is lost in languages whose numbers are doubles."""
SOURCE_PATTERN: Final = r"^[A-Za-z0-9._/-]{1,64}\Z"

Source = Annotated[str, msgspec.Meta(pattern=SOURCE_PATTERN)]
Stamp = Annotated[int, msgspec.Meta(ge=1, le=STAMP_MAX)]
Count = Annotated[int, msgspec.Meta(ge=0, le=STAMP_MAX)]
