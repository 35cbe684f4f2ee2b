from trading_app.lives import KEPT_S, LIVES_MAX, Lives, Past
from trading_app.sidecar_client import Away

NOW_S = 1_790_000_000.0


def test_the_newest_history_of_a_life_replaces_the_one_before(make_life):
    lives = Lives()
    lives.add(make_life({-2: (0, 0)}))
    newest = make_life({-2: (0, 0), -1: (1, 0)})
    assert lives.add(newest) == lives.all() == (newest,)


def test_an_earlier_life_is_kept_before_the_one_that_followed(make_life):
    lives = Lives()
    first = make_life({-60: (9, 9)}, started_s=NOW_S - 100, now_s=NOW_S - 60)
    second = make_life({-1: (0, 0)}, started_s=NOW_S - 30)
    lives.add(first)
    assert lives.add(second) == (first, second)
    assert lives.add(first) == (first, second)  # a late thread


def test_a_life_that_ended_more_than_fifteen_minutes_ago_is_forgotten(make_life):
    lives = Lives()
    lives.add(make_life({}, started_s=1, now_s=NOW_S - KEPT_S))
    newest = make_life({})
    assert lives.add(newest) == (newest,)


def test_no_more_lives_are_kept_than_the_limit(make_life):
    lives = Lives()
    for number in range(LIVES_MAX + 5):
        lives.add(make_life({}, started_s=NOW_S + number))
    assert [life.started_s - NOW_S for life in lives.all()] == list(range(5, LIVES_MAX + 5))


def test_the_desk_remembers_what_it_saw_while_the_sidecar_is_away(desk, sidecar, make_life):
    sidecar.past = seen = make_life({-1: (1, 1)}, now_s=NOW_S - 5)
    assert desk.past() == Past(NOW_S - 5, (seen,))
    sidecar.past = Away("nothing answers", NOW_S - 3, seen, NOW_S - 4)
    assert desk.past() == Past(NOW_S - 1, (seen,), "nothing answers")


def test_a_sidecar_that_was_never_there_has_no_past(desk, sidecar):
    sidecar.past = Away("nothing answers", NOW_S, None, None)
    assert desk.past() == Past(NOW_S, (), "nothing answers")
