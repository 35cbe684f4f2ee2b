"""Orders and fills of the paper desk: sent, looked at before, listed, cancelled.

A sent order is stored before it is answered. What asks the desk runs outside of the event loop.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Path, Query, Response

from market_engine.api import paper_models as models
from market_engine.api import paper_shapes as shapes
from market_engine.api.errors import documented
from market_engine.api.forms import CLIENT_ORDER_ID, NAME, SYMBOL
from market_engine.api.paper_bodies import OrderBody, PreviewBody, TradeBody
from market_engine.api.paper_routes import PortfolioQuery, check_portfolio
from market_engine.api.parts import Parts, json_response
from market_engine.api.shapes import Shape
from market_engine.paper.desk import PaperDesk
from market_engine.paper.errors import PaperError
from market_engine.paper.model import BookName, NewOrder, Order
from market_engine.paper.reading import FillQuery, OrderQuery, PaperReading

NUMBER_MAX: Final = 2**53
IdPath = Annotated[str, Path(pattern=CLIENT_ORDER_ID)]
IdQuery = Annotated[str | None, Query(pattern=CLIENT_ORDER_ID)]
SymbolQuery = Annotated[str | None, Query(pattern=SYMBOL)]
LimitQuery = Annotated[int, Query(ge=1, le=500)]
BeforeQuery = Annotated[
    int | None, Query(ge=1, le=NUMBER_MAX, description="Only those with lower numbers.")
]
_AGAIN: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": models.OrderEntry, "description": "It came before; as it is now."}
}


class Orders:
    """The desk and its store together: an order with what each book made of it."""

    def __init__(self, desk: PaperDesk, reading: PaperReading) -> None:
        self._desk = desk
        self._reading = reading

    def shapes(self, orders: Sequence[Order]) -> list[Shape]:
        """All of them as they are now."""
        now = [self._desk.current(order) for order in orders]
        taken = self._reading.taken([order.number for order in orders])
        return [
            shapes.order_shape(order, state, why, taken.get(order.number, {}))
            for order, state, why in now
        ]

    def submitted(self, asked: NewOrder) -> Response:
        """Send it."""
        placed = self._desk.submit(asked)
        (shape,) = self.shapes([placed.order])
        return json_response(shape, 201 if placed.is_new else 200)

    def found(self, portfolio: str, client_order_id: str) -> Order:
        """As it was stored; raises PaperError."""
        check_portfolio(self._desk, portfolio)
        order = self._desk.store.order(portfolio, client_order_id)
        if order is None:
            message = f"there is no order {client_order_id!r} in {portfolio}: see GET /orders"
            raise PaperError("unknown_order", message)
        return order


def order_router(parts: Parts) -> APIRouter:
    """The routes of orders and fills."""
    router = APIRouter(tags=["paper desk"])
    desk, reading = parts.engine.paper, parts.reading
    orders = Orders(desk, reading)
    _add_sending(router, desk, orders)
    _add_lists(router, desk, orders, reading)
    _add_cancel_all(router, desk)
    _add_one(router, desk, orders)
    return router


def _add_sending(router: APIRouter, desk: PaperDesk, orders: Orders) -> None:
    @router.post(
        "/portfolio/trade",
        status_code=201,
        response_model=models.OrderEntry,
        responses=_AGAIN | documented(403, 404, 409, 413, 422, 503),
        summary="Buy or sell at the market",
    )
    def trade(body: Annotated[TradeBody, Body()]) -> Response:
        return orders.submitted(body.order(str(uuid.uuid4())))

    @router.post(
        "/orders",
        status_code=201,
        response_model=models.OrderEntry,
        responses=_AGAIN | documented(403, 404, 409, 413, 422, 503),
        summary="Send an order; one that risk denies is an answer too, with its reason",
    )
    def send(body: Annotated[OrderBody, Body()]) -> Response:
        return orders.submitted(body.order())

    @router.post(
        "/orders/preview",
        response_model=models.PreviewEntry,
        responses=documented(403, 404, 413, 422),
        summary="What an order would cost, and whether risk would let it pass",
    )
    def preview(body: Annotated[PreviewBody, Body()]) -> Response:
        return json_response(shapes.preview_shape(desk.preview(body.order())))


def _add_lists(router: APIRouter, desk: PaperDesk, orders: Orders, reading: PaperReading) -> None:
    @router.get(
        "/orders",
        response_model=models.Orders,
        responses=documented(404, 422, 503),
        summary="Orders, newest first",
    )
    def listed(
        portfolio: PortfolioQuery = "main",
        state: Literal["open", "all"] = "all",
        symbol: SymbolQuery = None,
        limit: LimitQuery = 100,
        before: BeforeQuery = None,
    ) -> Response:
        check_portfolio(desk, portfolio)
        query = OrderQuery(portfolio, limit, state == "open", symbol, before)
        return json_response({"orders": orders.shapes(reading.orders(query))})

    @router.get(
        "/fills",
        response_model=models.Fills,
        responses=documented(404, 422, 503),
        summary="Fills with their evidence, newest first",
    )
    def fills(
        portfolio: PortfolioQuery = "main",
        client_order_id: IdQuery = None,
        symbol: SymbolQuery = None,
        book: BookName = BookName.NEUTRAL,
        limit: LimitQuery = 100,
        before: BeforeQuery = None,
    ) -> Response:
        check_portfolio(desk, portfolio)
        query = FillQuery(portfolio, book, limit, client_order_id, symbol, before)
        return json_response({"fills": shapes.fill_shapes(reading.fills(query))})


def _add_cancel_all(router: APIRouter, desk: PaperDesk) -> None:
    @router.delete(
        "/orders",
        response_model=models.Cancelled,
        responses=documented(403, 404, 422, 503),
        summary="Cancel all open orders of a portfolio, or none",
    )
    def cancel_all(
        portfolio: Annotated[str, Query(pattern=NAME, description="Which; there is no default.")],
    ) -> Response:
        return json_response({"cancelled": desk.cancel_all(portfolio)})


def _add_one(router: APIRouter, desk: PaperDesk, orders: Orders) -> None:
    @router.get(
        "/orders/{client_order_id}",
        response_model=models.OrderEntry,
        responses=documented(404, 422, 503),
        summary="An order as it is now",
    )
    def one(client_order_id: IdPath, portfolio: PortfolioQuery = "main") -> Response:
        (shape,) = orders.shapes([orders.found(portfolio, client_order_id)])
        return json_response(shape)

    @router.delete(
        "/orders/{client_order_id}",
        response_model=models.OrderEntry,
        responses=documented(403, 404, 409, 422, 503),
        summary="Cancel what is not filled",
    )
    def cancel(client_order_id: IdPath, portfolio: PortfolioQuery = "main") -> Response:
        (shape,) = orders.shapes([desk.cancel(portfolio, client_order_id)])
        return json_response(shape)
