"""The one shape in which the HTTP endpoint says no: which field, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Literal

import orjson
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, Response

from trading_app.order_ticket import Problem


class ProblemAnswer(BaseModel):
    """One thing that is wrong."""

    field: str = Field(description="a field of the trade, or body, host, origin, token, server")
    problem: str = Field(description="what is wrong with it, in words that fit after its name")


class RefusalAnswer(BaseModel):
    """The body of every answer that is not a success."""

    status: Literal["refused"] = "refused"
    problems: list[ProblemAnswer]


def answer_problems(status: int, problems: Sequence[Problem]) -> Response:
    """Make the JSON answer."""
    listed = [{"field": problem.field, "problem": problem.problem} for problem in problems]
    body = orjson.dumps({"status": "refused", "problems": listed})
    return Response(body, status, media_type="application/json", headers=_headers(status))


def answer_problem(status: int, field: str, problem: str) -> Response:
    """Make the JSON answer to a single problem."""
    return answer_problems(status, [Problem(field, problem)])


def answer_page(status: int, problems: Sequence[Problem], back_url: str) -> Response:
    """Make the answer for a browser that sent a form: the same as a small page."""
    lines = "".join(f"<li>{escape(str(problem))}</li>" for problem in problems)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Not traded</title>'
        "<style>:root{color-scheme:light dark}body{font:1rem/1.5 system-ui;margin:3rem auto;"
        "max-width:34rem;padding:0 1rem}</style>"
        f"<h1>Not traded</h1><p>Nothing was sent.</p><ul>{lines}</ul>"
        f'<p><a href="{escape(back_url)}">Back to the desk</a></p></html>'
    )
    return HTMLResponse(page, status, headers=_headers(status))


def _headers(status: int) -> dict[str, str]:
    extra = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}
    return {"Cache-Control": "no-store", **extra.get(status, {})}
