"""What the routes share: the engine, the replay, the streams, and which market is meant.

Made once by ``app``; knows no route.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import orjson
from fastapi import Query, Response

from market_engine.api.clients import Clients
from market_engine.api.errors import ApiError, unknown_symbol
from market_engine.api.fanout import FanOut
from market_engine.api.figures import Figures
from market_engine.api.messages import Moment
from market_engine.api.models import Source
from market_engine.api.recordings import SHIPPED, Recordings
from market_engine.engine import Engine
from market_engine.health.faults import SymbolHealthView
from market_engine.paper.daily import DailyEquities
from market_engine.paper.reading import PaperReading
from market_engine.replay_desk import ReplayDesk
from market_engine.storage.market_store import MarketStore
from market_engine.view import MarketView, SymbolView

SourceQuery = Annotated[Source, Query(description="The live market, or the one of the replay.")]


class Market(msgspec.Struct, frozen=True):
    """One of the two markets at a moment."""

    source: Source
    view: MarketView
    store: MarketStore | None
    """None where nothing of it is stored."""
    now_ns: int
    """By the clock of this market."""

    def symbol(self, name: str) -> SymbolView:
        """One symbol; raises ApiError where it is not known."""
        found = self.view.symbol(name)
        if found is None:
            raise unknown_symbol(name)
        return found

    def health(self) -> dict[str, SymbolHealthView]:
        """By symbol."""
        return {each.symbol: each for each in self.view.health()}


class Parts:
    """Of one application; subscribes to both buses at once."""

    def __init__(
        self, engine: Engine, is_stopping: Callable[[], bool], desk: ReplayDesk | None = None
    ) -> None:
        self.engine = engine
        self.is_stopping = is_stopping
        self.desk = desk or ReplayDesk()
        self.reading = PaperReading(engine.desk_database)
        self.days = DailyEquities(engine.desk_database)
        self.figures = Figures()
        self.clients = Clients(self.figures)
        self.recordings = Recordings([engine.settings.recordings_dir, SHIPPED])
        feed = Moment("feed", is_live=engine.settings.feed != "replay")
        replay = Moment("replay", is_live=False)
        self.fanouts = (
            FanOut(feed, engine.bus, self.clients, self.figures, counts=True),
            FanOut(replay, self.desk.bus, self.clients, self.figures, counts=False),
        )

    def market(self, source: Source) -> Market:
        """The market that is meant; raises ApiError where nothing is being replayed."""
        if source == "feed":
            view = self.engine.view
            return Market(source, view, self.engine.store, self._now_ns(view.received_ns))
        replayed = self.desk.view
        if replayed is None:
            message = "Nothing is being replayed: start with POST /api/replay."
            raise ApiError(404, "no_replay", message, "source")
        return Market(source, replayed, None, replayed.received_ns)

    def _now_ns(self, received_ns: int) -> int:
        """Of the feed; where that is a recording, it is as late as what came last."""
        is_recorded = self.engine.settings.feed == "replay"
        return received_ns if is_recorded else max(time.time_ns(), received_ns)


def json_response(value: Any, status: int = 200) -> Response:  # noqa: ANN401 - whatever JSON can say
    """Plain data as JSON."""
    return Response(orjson.dumps(value), status, media_type="application/json")
