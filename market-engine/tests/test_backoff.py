from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from market_engine.feeds.backoff import AttemptLimit, Backoff


def test_the_limit_doubles_with_each_failure_up_to_the_cap() -> None:
    backoff = Backoff(0.5, 5, lambda: 1.0)
    assert [backoff.next_s() for _ in range(6)] == [0.5, 1, 2, 4, 5, 5]


def test_the_wait_is_drawn_from_nothing_up_to_the_limit() -> None:
    draws = iter([0.0, 0.25, 0.5])
    backoff = Backoff(1, 60, lambda: next(draws))
    assert [backoff.next_s() for _ in range(3)] == [0.0, 0.5, 2.0]


def test_a_success_begins_again_at_the_base() -> None:
    backoff = Backoff(1, 60, lambda: 1.0)
    assert [backoff.next_s(), backoff.next_s()] == [1, 2]
    backoff.reset()
    assert backoff.next_s() == 1


def test_a_million_failures_are_no_number_too_large() -> None:
    backoff = Backoff(1, 60, lambda: 1.0)
    assert {backoff.next_s() for _ in range(5_000)} == {1, 2, 4, 8, 16, 32, 60}


@given(st.lists(st.floats(0, 20), max_size=60), st.integers(1, 5), st.floats(1, 30))
def test_never_more_attempts_in_any_window_than_allowed(pauses_s, count_max, window_s) -> None:
    now_s = 0.0
    limit = AttemptLimit(count_max, window_s, lambda: now_s)
    made_s: list[float] = []
    for pause_s in pauses_s:
        now_s += pause_s
        now_s += limit.wait_s()
        limit.note()
        made_s.append(now_s)
    for first_s, later_s in zip(made_s, made_s[count_max:], strict=False):
        assert later_s - first_s >= window_s * 0.999_999


def test_an_attempt_that_is_allowed_need_not_wait() -> None:
    now_s = 100.0
    limit = AttemptLimit(2, 10, lambda: now_s)
    limit.note()
    assert limit.wait_s() == 0
    limit.note()
    assert limit.wait_s() == 10
    now_s = 111.0
    assert limit.wait_s() == 0
