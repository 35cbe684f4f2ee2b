"""The Market page's replay: choose a recording, play it, go to a moment, end it. Widgets only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from functools import partial
from html import escape
from typing import Final

import streamlit as st

from trading_app.formats import UNKNOWN, clock, number, plural, size, utc
from trading_app.market_answers import RecordingFile, Replay
from trading_app.market_client import Failed, MarketClient, Refused
from trading_app.market_look import shown, trouble
from trading_app.status import SHAPES, State
from trading_app.ui.browser import zone
from trading_app.ui.market_choice import SOURCE_KEY

REDRAW_S: Final = 1.0
STOPS: Final = 100
"""Into so many parts the slider divides a recording."""
SPEEDS: Final[dict[str, float | None]] = {
    "1×": 1.0,
    "10×": 10.0,
    "100×": 100.0,
    "full speed": None,
}
_STATES: Final[dict[str, State]] = {
    "playing": "live",
    "paused": "waiting",
    "ended": "waiting",
    "failed": "broken",
}
_DRAWN: Final = "market-replay-drawn"
_TOLD: Final = "market-told"
_SPEED: Final = "market-speed"
_FILE: Final = "market-file"
Command = Callable[[], Refused | Failed | None]


def show(client: MarketClient) -> None:
    """Draw the controls: folded while nothing is replayed."""
    _tell_answer()
    replay = shown(client.replay()) or Replay()
    st.session_state[_DRAWN] = _shape(replay)
    if replay.state == "none":
        with st.expander("Replay a recording", key="market-replay-folded"):
            _chooser(client, speed=True)
            _watch(client)
        return
    with st.container(border=True, key="panel-replay", gap="xsmall"):
        with st.container():
            _position(client)
        if replay.is_there:
            _controls(client, replay)
        else:
            _chooser(client, speed=True)


def _shape(replay: Replay) -> tuple[object, ...]:
    """Name what the controls depend on."""
    return replay.state, replay.file, replay.first_ms, replay.last_ms


@st.fragment(run_every=REDRAW_S)
def _watch(client: MarketClient) -> None:
    """Notice a replay that somebody else started."""
    _draw_again(shown(client.replay()))


def _draw_again(replay: Replay | None) -> None:
    """Draw the page anew when the replay is in another state than its controls."""
    if replay and _shape(replay) != st.session_state.get(_DRAWN):
        st.session_state[_DRAWN] = _shape(replay)
        st.rerun()


@st.fragment(run_every=REDRAW_S)
def _position(client: MarketClient) -> None:
    answer = client.replay()
    replay = shown(answer)
    st.html(position(replay or Replay(), zone(), trouble(answer)))
    _draw_again(replay)


def position(replay: Replay, here: tzinfo, why: str = "") -> str:
    """Say where the replay is, in words and as a bar; ``why`` it is not known now."""
    state = "stale" if why else _STATES.get(replay.state, "waiting")
    failed = replay.error or "no reason was said"
    words = failed if replay.state == "failed" else _where(replay, here)
    note = f'<span class="ta-warn"> · {escape(why)}</span>' if why else ""
    return (
        f'<div class="ta-benchmark ta-{state}" role="status">'
        f'<span class="ta-shape" aria-hidden="true">{SHAPES[state]}</span>'
        f"<b>{replay.state}</b><span>· {escape(replay.file or UNKNOWN)} · {escape(words)}</span>"
        f"{note}</div>{_bar(replay)}"
    )


def _where(replay: Replay, here: tzinfo) -> str:
    at, first, last = (
        clock(ms / 1000, here) if ms else UNKNOWN
        for ms in (replay.at_ms, replay.first_ms, replay.last_ms)
    )
    speed = "full speed" if replay.speed is None else f"{replay.speed:g}×"
    return (
        f"at {at}, of {first} to {last} · {speed} · {plural(replay.events, 'event')}, "
        f"{number(replay.rejected)} rejected"
    )


def _bar(replay: Replay) -> str:
    if not (replay.at_ms and replay.first_ms and replay.last_ms):
        return ""
    long_ms = max(1, replay.last_ms - replay.first_ms)
    part = min(1.0, max(0.0, (replay.at_ms - replay.first_ms) / long_ms))
    return (
        f'<div class="ta-way" title="{utc(replay.at_ms / 1000)}" aria-hidden="true">'
        f'<i style="width:{100 * part:.1f}%"></i></div>'
    )


def _controls(client: MarketClient, replay: Replay) -> None:
    """Draw pause or play, the speed, the slider, the choice of another, and the end."""
    with st.container(horizontal=True, key="market-replay-controls", vertical_alignment="center"):
        label, change = _next(replay)
        _match_speed(replay)
        st.button(label, key="market-pause", on_click=_change, args=(client, change))
        _speed(client)
        _slider(client, replay)
        with st.popover("Another recording"):
            _chooser(client, speed=False)
        st.button("End the replay", key="market-end", on_click=_end, args=(client,))


def _next(replay: Replay) -> tuple[str, dict[str, object]]:
    if replay.state == "playing":
        return "Pause", {"paused": True}
    if replay.state == "paused":
        return "Play", {"paused": False}
    return "Play again", {"paused": False, "seek_ms": replay.first_ms}


def _slider(client: MarketClient, replay: Replay) -> None:
    """Let a moment be chosen; its stops are a hundredth of the recording apart."""
    stops = _stops(replay)
    if len(stops) < 2:
        return
    here = zone()
    key = f"market-seek-{stops[0]}-{stops[-1]}"
    at_ms = replay.at_ms or stops[0]
    st.session_state.setdefault(key, min(stops, key=lambda stop: abs(stop - at_ms)))
    st.select_slider(
        "Go to",
        stops,
        key=key,
        format_func=lambda at_ms: clock(at_ms / 1000, here),
        on_change=_seek,
        args=(client, key),
    )


def _stops(replay: Replay) -> list[int]:
    if replay.first_ms is None or replay.last_ms is None or replay.last_ms <= replay.first_ms:
        return []
    long_ms = replay.last_ms - replay.first_ms
    return sorted({replay.first_ms + long_ms * part // STOPS for part in range(STOPS + 1)})


def _chooser(client: MarketClient, *, speed: bool) -> None:
    """Let a recording be chosen, a speed where none is shown yet, and start it."""
    answer = client.recordings()
    found = shown(answer)
    files = found.recordings if found else ()
    if not files:
        st.html(_no_recordings(trouble(answer)))
        return
    with st.container(horizontal=True, key="market-replay-chooser", vertical_alignment="center"):
        _file(files)
        if speed:
            _speed(client)
        st.button("Replay", key="market-start", on_click=_start, args=(client,))


def _speed(client: MarketClient) -> None:
    """Let the speed be chosen, of what is played and of the next start."""
    st.session_state.setdefault(_SPEED, "10×")
    st.segmented_control(
        "Speed",
        list(SPEEDS),
        key=_SPEED,
        required=True,
        label_visibility="collapsed",
        on_change=_set_speed,
        args=(client,),
    )


def _no_recordings(why: str) -> str:
    if why:
        return f'<div class="ta-empty">Not known: {escape(why)}.</div>'
    return (
        '<div class="ta-empty">Recordings that can be replayed appear here. None is in the '
        "market-engine's folder, MARKET_RECORDINGS_DIR.</div>"
    )


def _file(files: Sequence[RecordingFile]) -> None:
    names = {file.name: _named(file) for file in files}
    if st.session_state.get(_FILE) not in names:
        st.session_state[_FILE] = next(iter(names))
    st.selectbox(
        "Recording",
        list(names),
        key=_FILE,
        format_func=lambda name: names.get(name, name),
        width=340,
        label_visibility="collapsed",
    )


def _named(file: RecordingFile) -> str:
    of = f", {utc(file.first_ms / 1000)[:16]} UTC" if file.first_ms else ""
    return f"{file.name} ({size(file.size_bytes)}{of})"


def _start(client: MarketClient) -> None:
    file, speed = st.session_state[_FILE], SPEEDS[st.session_state[_SPEED]]
    started = partial(client.start_replay, file, speed)
    if _command(started, f"{file} is being replayed"):
        st.session_state[SOURCE_KEY] = "Recording"


def _change(client: MarketClient, change: dict[str, object]) -> None:
    _command(partial(client.change_replay, change), "Paused" if change["paused"] else "It plays")


def _end(client: MarketClient) -> None:
    if _command(client.end_replay, "The replay has ended: this is the market"):
        st.session_state[SOURCE_KEY] = "Market"


def _seek(client: MarketClient, key: str) -> None:
    at_ms = st.session_state[key]
    _command(partial(client.change_replay, {"seek_ms": at_ms}), f"At {clock(at_ms / 1000, zone())}")


def _match_speed(replay: Replay) -> None:
    """Let the control show the speed that is played, whoever set it."""
    names = [name for name, speed in SPEEDS.items() if speed == replay.speed]
    if names:
        st.session_state[_SPEED] = names[0]


def _set_speed(client: MarketClient) -> None:
    """Change the speed of what is played; it holds for the next start too."""
    replay = shown(client.replay())
    if replay and replay.is_there:
        speed = st.session_state[_SPEED]
        _command(partial(client.change_replay, {"speed": SPEEDS[speed]}), f"Speed: {speed}")


def _command(tell: Command, done: str) -> bool:
    """Send a command, leave its answer for the run that follows, and say whether it was done."""
    answer = tell()
    st.session_state[_TOLD] = done if answer is None else answer
    return answer is None


def _tell_answer() -> None:
    """Say once, in a toast, what the last click came to."""
    answer = st.session_state.pop(_TOLD, None)
    if isinstance(answer, Refused):
        st.toast(f"Not done: {answer.message}", icon=":material/block:")
    elif isinstance(answer, Failed):
        st.toast(f"No answer, so look whether it was done: {answer.reason}", icon=":material/help:")
    elif answer:
        st.toast(answer, icon=":material/check:")
