"""The one form of every error: ``{"error": {"code", "message", "field"}}``, whatever raised it.

Nothing internal is told: no path, no traceback, no text of an exception that was not made for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route

from market_engine.api import examples
from market_engine.api.forms import CURES, TEXT
from market_engine.api.models import ErrorBody
from market_engine.errors import StorageError
from market_engine.paper.errors import PaperError

MESSAGE_CHARS_MAX: Final = 300
_CODES: Final = {
    404: ("not_found", "There is nothing at this address: /docs lists what there is."),
    405: ("method_not_allowed", "This address does not take that method: Allow lists those."),
    413: ("too_large", "The body is over 65,536 bytes, which is the limit: send less."),
}
_NOT_JSON: Final = "The body is not JSON: send an object."
_PAPER: Final[dict[str, tuple[int, str | None]]] = {
    "unknown_portfolio": (404, "portfolio"),
    "unknown_order": (404, "client_order_id"),
    "portfolio_exists": (409, "name"),
    "too_many_portfolios": (409, None),
    "other_order": (409, "client_order_id"),
    "order_closed": (409, "client_order_id"),
    "not_stored": (503, None),
}
"""What the paper desk refuses: the status, and the field that it is about."""
_PARAMETERS: Final = frozenset({"query", "path", "header", "cookie"})


class ApiError(Exception):
    """An answer that is an error; the message is one sentence that names the cure."""

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field

    def response(self) -> Response:
        """As it is sent."""
        return error_response(self.status, self.code, self.message, self.field)


def unknown_symbol(symbol: str) -> ApiError:
    """For a symbol that the source never named."""
    message = f"{symbol[:32]!r} is not known here: GET /symbols lists what is."
    return ApiError(404, "unknown_symbol", message, "symbol")


def error_response(status: int, code: str, message: str, field: str | None = None) -> Response:
    """The one form."""
    text = message.encode(errors="replace").decode()[:MESSAGE_CHARS_MAX]
    body = {"error": {"code": code, "message": text, "field": field}}
    return Response(orjson.dumps(body), status, media_type="application/json")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What to say of these errors on the OpenAPI page."""
    return {
        status: {
            "model": ErrorBody,
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"example": examples.error(status)}},
        }
        for status in statuses
    }


def add_handlers(app: FastAPI) -> None:
    """Have every error told in this form."""

    @app.exception_handler(ApiError)
    async def told(_: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return _invalid(error)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return _refused(request, error)

    @app.exception_handler(StorageError)
    async def unreadable(_: Request, __: StorageError) -> Response:
        message = "The database cannot be read now: see the log of market-engine, and try again."
        return error_response(503, "storage_unavailable", message)

    @app.exception_handler(PaperError)
    async def denied(_: Request, error: PaperError) -> Response:
        status, field = _PAPER[error.code]
        message = str(error)
        return error_response(status, error.code, f"{message[:1].upper()}{message[1:]}.", field)

    @app.exception_handler(Exception)
    async def unexpected(_: Request, __: Exception) -> Response:
        message = "This is a defect of market-engine: its log has the details."
        return error_response(500, "internal", message)


def _invalid(error: RequestValidationError) -> Response:
    """The first thing that is wrong; the others follow when it is mended."""
    first = error.errors()[0]
    place, *rest = first["loc"]
    field = ".".join(str(part) for part in rest) or None
    if place in _PARAMETERS:
        return error_response(422, "invalid_parameter", f"{field}: {_cure(first)}.", field)
    if first["type"] == "json_invalid":
        return error_response(422, "invalid_body", _NOT_JSON)
    if field is None:
        message = "The body should be a JSON object, with content-type application/json."
        return error_response(422, "invalid_body", message)
    return error_response(422, "invalid_body", f"{field}: {_cure(first)}.", field)


def _cure(problem: Mapping[str, Any]) -> str:
    """What to write instead, where pydantic would quote a pattern or speak of types."""
    if problem["type"] == "string_pattern_mismatch":
        return CURES.get(problem["ctx"]["pattern"], "write it in the form that /docs shows")
    if problem["type"] == "string_type":
        return TEXT
    return str(problem["msg"])


def _refused(request: Request, error: HTTPException) -> Response:
    status = error.status_code
    if status == HTTPStatus.BAD_REQUEST:  # a body that is not even text
        return error_response(422, "invalid_body", _NOT_JSON)
    code, message = _CODES.get(status, ("refused", "The request is refused: see /docs."))
    response = error_response(status, code, message)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["allow"] = ", ".join(sorted(_methods(request)))
    return response


def _methods(request: Request) -> set[str]:
    """Of all routes at this address: the router names those of the first one only.

    Those that spell it out come before those with a parameter in its place.
    """
    path = request.scope["path"]
    routes = [each for each in request.app.routes if isinstance(each, Route)]
    found = [each for each in routes if each.path == path] or [
        each for each in routes if each.path_regex.match(path)
    ]
    return {method for each in found for method in each.methods or ()}
