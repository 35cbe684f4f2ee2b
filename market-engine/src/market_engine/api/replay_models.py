"""What the API answers about recordings and the replay, and what it is sent; as ``models``."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from market_engine.api import examples
from market_engine.api.models import like
from market_engine.feeds.pace import SPEED_MAX, SPEED_MIN

MS_MAX: Final = 4_102_444_800_000
"""2100-01-01."""

Speed = Annotated[float, Field(ge=SPEED_MIN, le=SPEED_MAX, allow_inf_nan=False)]


def asked(example: dict[str, Any]) -> ConfigDict:
    """What is sent to us: a text is no number, and what is not known is refused."""
    return ConfigDict(json_schema_extra={"examples": [example]}, extra="forbid", strict=True)


class RecordingEntry(BaseModel):
    """One file that can be replayed; times are null where reading them would take long."""

    name: str
    size_bytes: int
    first_ms: int | None
    last_ms: int | None
    kind: Literal["frames", "csv"]


class RecordingList(BaseModel):
    """In the order of their names."""

    model_config = like(examples.RECORDINGS)
    recordings: list[RecordingEntry]


class Replay(BaseModel):
    """Where the replay is."""

    model_config = like(examples.REPLAY)
    state: Literal["none", "playing", "paused", "ended", "failed"]
    file: str | None
    first_ms: int | None
    last_ms: int | None
    at_ms: int | None
    speed: float | None = Field(description="1 is as recorded, null as fast as possible.")
    events: int
    rejected: int
    error: str | None


class ReplayStart(BaseModel):
    """What to replay."""

    model_config = asked({"file": "sample.frames", "speed": 10})
    file: str = Field(min_length=1, max_length=128, description="A name from /api/recordings.")
    speed: Speed | None = Field(1.0, description="1 is as recorded, null as fast as possible.")


class ReplayChange(BaseModel):
    """What to change; what is left out stays as it is."""

    model_config = asked({"paused": False, "speed": 2.0, "seek_ms": 1_790_000_060_000})
    paused: bool = False
    speed: Speed | None = Field(None, description="null: as fast as possible.")
    seek_ms: int = Field(0, ge=0, le=MS_MAX, description="Beyond an end it is that end.")
