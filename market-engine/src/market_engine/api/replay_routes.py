"""Recordings and the replay: what can be replayed, what is, and its controls."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response
from msgspec import UNSET

from market_engine.api import replay_models as models
from market_engine.api.errors import ApiError, documented
from market_engine.api.parts import Parts, json_response
from market_engine.api.recordings import Recordings
from market_engine.api.shapes import Shape, ms_of
from market_engine.errors import FileError
from market_engine.events import MS_NS
from market_engine.replay_desk import (
    NoReplayError,
    ReplayDesk,
    ReplayFailedError,
    ReplayOrder,
    ReplayStatus,
)


def replay_router(parts: Parts) -> APIRouter:
    """The routes of the replay; what reads files runs outside of the event loop."""
    router = APIRouter(tags=["replay"])
    desk, recordings = parts.desk, parts.recordings

    @router.get(
        "/api/recordings",
        response_model=models.RecordingList,
        summary="The files that can be replayed",
    )
    def listed() -> Response:
        return json_response({"recordings": _recordings(recordings)})

    @router.get(
        "/api/replay", response_model=models.Replay, summary="What is replayed, and where it is"
    )
    async def where() -> Response:
        return json_response(_status(desk.status()))

    @router.post(
        "/api/replay",
        status_code=201,
        response_model=models.Replay,
        responses=documented(403, 404, 413, 422),
        summary="Replay a recording, in place of the one that is going on",
    )
    def begin(body: Annotated[models.ReplayStart, Body()]) -> Response:
        return json_response(_status(_begin(desk, recordings, body)), 201)

    @router.patch(
        "/api/replay",
        response_model=models.Replay,
        responses=documented(403, 404, 409, 413, 422),
        summary="Pause, go on, change the speed, or seek",
    )
    def change(body: Annotated[models.ReplayChange, Body()]) -> Response:
        return json_response(_status(_change(desk, body)))

    @router.delete("/api/replay", status_code=204, summary="End the replay, if one is going on")
    def end() -> Response:
        desk.end()
        return Response(status_code=204)

    return router


def _recordings(recordings: Recordings) -> list[Shape]:
    return [
        {
            "name": found.name,
            "size_bytes": found.size_bytes,
            "first_ms": ms_of(found.first_ns),
            "last_ms": ms_of(found.last_ns),
            "kind": found.kind,
        }
        for found in recordings.list()
    ]


def _begin(desk: ReplayDesk, recordings: Recordings, body: models.ReplayStart) -> ReplayStatus:
    path = recordings.path(body.file)
    if path is None:
        message = f"{body.file[:64]!r} is no recording: GET /api/recordings lists their names."
        raise ApiError(404, "unknown_recording", message, "file")
    try:
        return desk.start(path, body.speed)
    except FileError as error:
        told = str(error).replace(str(path), path.name)
        raise ApiError(422, "bad_recording", told, "file") from None
    except NoReplayError as error:
        raise ApiError(404, "no_replay", str(error)) from None


def _change(desk: ReplayDesk, body: models.ReplayChange) -> ReplayStatus:
    given = body.model_fields_set
    order = ReplayOrder(
        paused=body.paused if "paused" in given else UNSET,
        speed=body.speed if "speed" in given else UNSET,
        seek_ns=body.seek_ms * MS_NS if "seek_ms" in given else UNSET,
    )
    try:
        return desk.change(order)
    except NoReplayError:
        message = "Nothing is being replayed: start with POST /api/replay."
        raise ApiError(404, "no_replay", message) from None
    except ReplayFailedError as error:
        message = f"The replay has failed ({error}): start one again with POST /api/replay."
        raise ApiError(409, "replay_failed", message) from None


def _status(status: ReplayStatus) -> Shape:
    position = status.position
    return {
        "state": status.state,
        "file": status.file,
        "first_ms": ms_of(position.first_ns) if position else None,
        "last_ms": ms_of(position.last_ns) if position else None,
        "at_ms": ms_of(position.at_ns) if position else None,
        "speed": position.speed if position else None,
        "events": position.events if position else 0,
        "rejected": position.rejected if position else 0,
        "error": status.error,
    }
