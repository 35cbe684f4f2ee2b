"""The demo's accounts: what the bots say that they published, against what the sidecar counted.

Pure: from tallies and the sidecar's summary to a list of differences and a page of text.
"""

from __future__ import annotations

from typing import Any, Final

from demo_bots import LOTS_PER_UNIT, Tally

SIDES: Final = ("buy", "sell")
Tallies = dict[str, Tally]
"""By the publisher's name."""
Summary = dict[str, Any]
"""The answer of the sidecar's ``/api/summary``."""


def differences(tallies: Tallies, summary: Summary) -> list[str]:
    """Where the summary is not what the bots published, a line each; none if they agree.

    The sidecar tells publishers apart, so each bot must agree exactly. The rest of the totals is
    what others published meanwhile (you, at the desk), and must add up, too.
    """
    return _by_publisher(tallies, summary) + _by_side(tallies, summary)


def report(tallies: Tallies, summary: Summary) -> str:
    """Both accounts side by side, and the sentence that says whether they agree."""
    tables = [*_table(_publisher_rows(tallies, summary)), "", *_table(_side_rows(tallies, summary))]
    if others := _of_others(tallies, summary):
        tables += ["", f"Of what was counted, {others:,} were published by others."]
    if found := differences(tallies, summary):
        verdict = ["They do not agree:", *(f"  {line}" for line in found)]
    else:
        verdict = ["They agree exactly: each trade was counted once."]
    return "\n".join(f"  {line}".rstrip() for line in ["", *tables, "", *verdict, ""])


def _by_publisher(tallies: Tallies, summary: Summary) -> list[str]:
    found = []
    for name, tally in tallies.items():
        totals = _totals(summary, name)
        refused = sum(totals.get("refused", {}).values())
        for what, there, here in (
            ("counted", totals.get("applied", 0), tally.published),
            ("refused", refused, tally.refused),
        ):
            if there != here:
                found.append(f"{name}: the sidecar knows of {there:,} {what}, the bot of {here:,}")
    return found


def _by_side(tallies: Tallies, summary: Summary) -> list[str]:
    """Totals less what the bots published must be what others published."""
    found = []
    rest = 0
    for side in SIDES:
        trades, volume = _published(tallies, side)
        more = summary["trades"][side] - trades
        more_volume = summary["volume"][side] - volume
        rest += more
        if more < 0 or more_volume < 0 or (more == 0 and more_volume > 0):
            found.append(f"{side}: {more:+,} trades and {more_volume:+g} volume in the totals")
    if rest != (others := _of_others(tallies, summary)):
        found.append(f"both sides: {rest:+,} trades in the totals, {others:,} of them by others")
    return found


def _of_others(tallies: Tallies, summary: Summary) -> int:
    """Trades counted that no bot published."""
    strangers = (row for row in summary["publishers"] if row["publisher"] not in tallies)
    return int(summary["untracked"] + sum(row["applied"] for row in strangers))


def _published(tallies: Tallies, side: str) -> tuple[int, float]:
    """Trades and volume of all bots; the volume is the double nearest to the exact sum."""
    lots = sum(tally.lots[side] for tally in tallies.values())
    return sum(tally.trades[side] for tally in tallies.values()), lots / LOTS_PER_UNIT


def _totals(summary: Summary, name: str) -> dict[str, Any]:
    return next((row for row in summary["publishers"] if row["publisher"] == name), {})


def _publisher_rows(tallies: Tallies, summary: Summary) -> list[list[str]]:
    rows = [["publisher", "published", "counted", "refused", "restarts"]]
    for name, tally in tallies.items():
        counted = _totals(summary, name).get("applied", 0)
        numbers = (tally.published, counted, tally.refused, max(0, tally.lives - 1))
        rows.append([name, *(f"{number:,}" for number in numbers)])
    return rows


def _side_rows(tallies: Tallies, summary: Summary) -> list[list[str]]:
    rows = [["side", "published", "counted", "volume published", "counted"]]
    for side in SIDES:
        trades, volume = _published(tallies, side)
        numbers = [f"{trades:,}", f"{summary['trades'][side]:,}"]
        rows.append([side, *numbers, f"{volume:,.4f}", f"{summary['volume'][side]:,.4f}"])
    return rows


def _table(rows: list[list[str]]) -> list[str]:
    return [f"{first:<14}" + "".join(f"{cell:>18}" for cell in cells) for first, *cells in rows]
