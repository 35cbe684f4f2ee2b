"""What the paper desk is sent, checked for its form, and turned into what the desk takes.

Unknown fields are refused, as are numbers where text is meant: a float would not be exact.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from market_engine.api import paper_examples as examples
from market_engine.api.errors import ApiError
from market_engine.api.forms import (
    ABOVE_0,
    BELOW_1,
    CLIENT_ORDER_ID,
    CURRENCY,
    FROM_0,
    NAME,
    SYMBOL,
    UP_TO_1,
)
from market_engine.api.replay_models import asked
from market_engine.decimals import to_nano
from market_engine.events import Side
from market_engine.paper.model import Limits, Model, NewOrder, OrderType, Portfolio, TimeInForce

EQUITY_CURRENCY: Final = "USD"
EQUITY_DAYS: Final = 252
ALL_DAYS: Final = 365

Name = Annotated[str, Field(pattern=NAME)]
Id = Annotated[str, Field(pattern=CLIENT_ORDER_ID)]
Symbol = Annotated[str, Field(pattern=SYMBOL)]
Above0 = Annotated[str, Field(pattern=ABOVE_0)]
From0 = Annotated[str, Field(pattern=FROM_0)]
Below1 = Annotated[str, Field(pattern=BELOW_1)]
_Type = Literal["market", "limit", "stop", "stop_limit"]
_TimeInForce = Literal["gtc", "ioc", "fok", "day"]
_LIMITS, _MODEL = Limits(), Model()


class LimitsBody(BaseModel):
    """What is left out is as by default; null is no limit."""

    model_config = asked(examples.PORTFOLIO["limits"])
    max_order: From0 | None = str(_LIMITS.max_order)
    max_position: From0 | None = str(_LIMITS.max_position)
    max_gross: From0 | None = str(_LIMITS.max_gross)
    max_daily_loss: From0 | None = str(_LIMITS.max_daily_loss)
    price_collar: Annotated[str, Field(pattern=UP_TO_1)] | None = str(_LIMITS.price_collar)
    orders_a_second: Annotated[int, Field(ge=1, le=1_000)] | None = _LIMITS.orders_a_second
    open_orders: int = Field(_LIMITS.open_orders, ge=1, le=10_000)
    allow_short: bool = _LIMITS.allow_short

    def limits(self) -> Limits:
        """As the desk takes them."""
        return Limits(
            _money(self.max_order),
            _money(self.max_position),
            _money(self.max_gross),
            _money(self.max_daily_loss),
            _money(self.price_collar),
            self.orders_a_second,
            self.open_orders,
            self.allow_short,
        )


class ModelBody(BaseModel):
    """What is left out is as by default."""

    model_config = asked(examples.PORTFOLIO["model"])
    maker_fee: Below1 = str(_MODEL.maker_fee)
    taker_fee: Below1 = str(_MODEL.taker_fee)
    slippage: Below1 = str(_MODEL.slippage)
    latency_ms: int = Field(_MODEL.latency_ms, ge=0, le=60_000)
    stale_ms: int = Field(_MODEL.stale_ms, ge=1, le=86_400_000)

    def model(self) -> Model:
        """As the desk takes it."""
        return Model(
            Decimal(self.maker_fee),
            Decimal(self.taker_fee),
            Decimal(self.slippage),
            self.latency_ms,
            self.stale_ms,
        )


class PortfolioBody(BaseModel):
    """A portfolio to make."""

    model_config = asked(examples.NEW_PORTFOLIO)
    name: Name = "main"
    currency: str = Field("USDT", pattern=CURRENCY)
    balance: Above0
    annual_days: Annotated[int, Field(ge=1, le=366)] | None = Field(
        None, description="null: 252 of a portfolio in USD, else 365."
    )
    limits: LimitsBody = LimitsBody()
    model: ModelBody = ModelBody()

    def portfolio(self, created_ns: int) -> Portfolio:
        """As the desk takes it."""
        usual_days = EQUITY_DAYS if self.currency == EQUITY_CURRENCY else ALL_DAYS
        return Portfolio(
            self.name,
            self.currency,
            Decimal(self.balance),
            created_ns,
            self.annual_days or usual_days,
            self.limits.limits(),
            self.model.model(),
        )


class TradeBody(BaseModel):
    """A market order."""

    model_config = asked(examples.NEW_TRADE)
    portfolio: Name = "main"
    symbol: Symbol
    side: Side
    qty: Above0
    client_order_id: Id | None = Field(None, description="null: one is made.")

    def order(self, made_id: str) -> NewOrder:
        """As the desk takes it."""
        return NewOrder(
            self.portfolio,
            self.client_order_id or made_id,
            self.symbol,
            self.side,
            OrderType.MARKET,
            to_nano(self.qty),
            source="desk",
        )


def _kind(type_: str, *, post_only: bool) -> dict[str, Any]:
    """Which fields go with a type of order, as a JSON schema."""
    given, none = {"type": "string"}, {"type": "null"}
    has_limit, has_stop = "limit" in type_, "stop" in type_
    properties: dict[str, Any] = {
        "type": {"const": type_},
        "limit_price": given if has_limit else none,
        "stop_price": given if has_stop else none,
        "post_only": {"const": post_only},
    }
    if post_only:
        properties["time_in_force"] = {"enum": ["gtc", "day"]}
    required = ["limit_price"] * has_limit + ["stop_price"] * has_stop + ["post_only"] * post_only
    return {"properties": properties, "required": ["type", *required]}


_KINDS: Final = [
    *(_kind(each, post_only=False) for each in ("market", "limit", "stop", "stop_limit")),
    *(_kind(each, post_only=True) for each in ("limit", "stop_limit")),
]


def _order_config(example: dict[str, Any]) -> ConfigDict:
    extra: dict[str, Any] = {"examples": [example], "anyOf": _KINDS}
    return ConfigDict(json_schema_extra=extra, extra="forbid", strict=True)


class PreviewBody(BaseModel):
    """An order that may be sent."""

    model_config = _order_config(examples.NEW_ORDER)
    portfolio: Name = "main"
    client_order_id: Id | None = None
    symbol: Symbol
    side: Side
    type: _Type
    qty: Above0
    limit_price: Above0 | None = Field(None, description="Of limit and stop_limit only.")
    stop_price: Above0 | None = Field(None, description="Of stop and stop_limit only.")
    time_in_force: _TimeInForce = "gtc"
    post_only: bool = Field(False, description="Never takes liquidity; of gtc and day only.")
    reduce_only: bool = Field(False, description="Fills no more than there is to close.")

    def order(self) -> NewOrder:
        """As the desk takes it; raises ApiError where its fields do not go together."""
        self._check()
        return NewOrder(
            self.portfolio,
            self.client_order_id or "preview",
            self.symbol,
            self.side,
            OrderType(self.type),
            to_nano(self.qty),
            None if self.limit_price is None else to_nano(self.limit_price),
            None if self.stop_price is None else to_nano(self.stop_price),
            TimeInForce(self.time_in_force),
            self.post_only,
            self.reduce_only,
        )

    def _check(self) -> None:
        for field, value in (("limit", self.limit_price), ("stop", self.stop_price)):
            is_wanted = field in self.type
            if is_wanted and value is None:
                raise _wrong(f"{field}_price", f"a {self.type} order needs one, such as 64000")
            if value is not None and not is_wanted:
                raise _wrong(f"{field}_price", f"a {self.type} order has none: leave it out")
        if self.post_only and "limit" not in self.type:
            raise _wrong("post_only", f"a {self.type} order takes liquidity: use a limit order")
        if self.post_only and self.time_in_force not in ("gtc", "day"):
            raise _wrong("post_only", "it rests, so its time_in_force is gtc or day")


class OrderBody(PreviewBody):
    """An order; the same id and body again is the same order."""

    client_order_id: Id


class StateBody(BaseModel):
    """What the desk should let through."""

    model_config = asked({"state": "halted", "reason": "a person pressed the button"})
    state: Literal["active", "reducing", "halted", "flatten"]
    reason: str = Field("", max_length=200)


def _money(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _wrong(field: str, message: str) -> ApiError:
    return ApiError(422, "invalid_body", f"{field}: {message}.", field)
