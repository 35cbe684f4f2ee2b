"""What the HTTP endpoint's own documentation says: content types, request and answers."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field

from trade_telemetry.messages import QTY_MAX
from trading_app.http_problems import RefusalAnswer

JSON: Final = "application/json"
FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


class EventAnswer(BaseModel):
    """An accepted trade with its stamps: it is counted when (``src``, ``epoch``, ``seq``) is.

    With fire and forget there are none.
    """

    side: str
    qty: float = Field(description="units of the instrument")
    ts: float = Field(description="unix seconds")
    symbol: str | None
    price: float | None
    src: str | None
    epoch: int | None
    seq: int | None


RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    303: {"description": "A form was accepted; back to the desk"},
    **{
        status: {"model": RefusalAnswer, "description": text}
        for status, text in (
            (400, "The Host header is none of this server's names"),
            (401, "The token is missing or wrong"),
            (403, "The request comes from a foreign page"),
            (413, "The body is larger than 16 KiB"),
            (415, "The body is neither JSON nor a form"),
            (422, "The trade breaks the contract: one problem for each field"),
            (503, "No room, or closing; try again"),
        )
    },
}
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["qty"],
    "properties": {
        "qty": {"type": "number", "minimum": 0, "maximum": QTY_MAX},
        "symbol": {"type": "string", "pattern": "^[A-Za-z0-9._:/-]{1,24}$"},
        "price": {"type": "number", "exclusiveMinimum": 0},
    },
}
REQUEST_BODY: Final = {
    "required": True,
    "content": {kind: {"schema": _SCHEMA} for kind in (JSON, *FORMS)},
}
