from trading_app.past import KEPT_S, Memory, Past
from trading_app.sidecar_client import Away

NOW_S = 1_790_000_000.0


def times(past):
    return [sample.at_s - NOW_S for sample in past.samples]


def test_a_newer_history_of_the_same_run_replaces_the_one_before(make_life):
    memory = Memory()
    memory.add(make_life({-2: (0, 0)}))
    newest = make_life({-2: (0, 0), -1: (1, 0)})
    past = memory.add(newest)
    assert past == memory.latest() == Past(NOW_S, newest)


def test_the_history_goes_on_over_a_restart_and_says_when_it_was(make_life):
    memory = Memory()
    memory.add(make_life({-61: (7, 9), -60: (9, 9)}, started_s=NOW_S - 100, now_s=NOW_S - 60))
    past = memory.add(make_life({-1: (9, 9)}, started_s=NOW_S - 30))
    assert times(past) == [-61, -60, -1]
    assert past.starts_s == (NOW_S - 100, NOW_S - 30)
    assert past.restarted_between(past.samples[1], past.samples[2])
    assert not past.restarted_between(past.samples[0], past.samples[1])


def test_before_its_first_sample_a_new_run_changes_nothing(make_life):
    memory = Memory()
    memory.add(make_life({-60: (9, 9)}, started_s=NOW_S - 100, now_s=NOW_S - 60))
    assert times(memory.add(make_life({}, started_s=NOW_S))) == [-60]


def test_a_late_thread_with_an_older_answer_does_no_lasting_harm(make_life):
    memory = Memory()
    first = make_life({-61: (9, 9), -60: (9, 9)}, started_s=NOW_S - 100, now_s=NOW_S - 60)
    second = make_life({-1: (9, 9)}, started_s=NOW_S - 30)
    memory.add(first)
    memory.add(second)
    memory.add(first)
    assert times(memory.add(second)) == [-61, -60, -1]
    assert memory.latest().starts_s == (NOW_S - 100, NOW_S - 30)


def test_what_is_older_than_fifteen_minutes_is_forgotten(make_life):
    memory = Memory()
    old = {-KEPT_S - 1: (1, 1), -KEPT_S + 1: (1, 1)}
    memory.add(make_life(old, started_s=NOW_S - KEPT_S - 9, now_s=NOW_S - 60))
    past = memory.add(make_life({-1: (2, 2)}, started_s=NOW_S - 5))
    assert times(past) == [-KEPT_S + 1, -1]
    assert past.starts_s == (NOW_S - 5,)


def test_a_version_with_other_buckets_of_age_begins_anew(make_life):
    memory = Memory()
    memory.add(make_life({-60: (9, 9)}, age_bounds_s=(1, 2), now_s=NOW_S - 60))
    assert times(memory.add(make_life({-1: (9, 9)}))) == [-1]


def test_many_restarts_keep_no_more_than_fifteen_minutes_of_samples(make_life):
    memory = Memory()
    for second in range(-3000, 1, 10):
        run = {second: (0, 0), second + 1: (0, 0)}
        past = memory.add(make_life(run, started_s=NOW_S + second, now_s=NOW_S + second + 1))
    assert len(past.samples) <= 2 * KEPT_S / 10
    assert len(past.starts_s) <= KEPT_S / 10


def test_the_desk_remembers_what_it_saw_while_the_sidecar_is_away(desk, sidecar, make_life):
    sidecar.past = seen = make_life({-1: (1, 1)}, now_s=NOW_S - 5, started_s=NOW_S - 60)
    assert desk.past() == Past(NOW_S - 5, seen, (NOW_S - 60,))
    sidecar.past = Away("nothing answers", NOW_S - 3, seen, NOW_S - 4)
    assert desk.past() == Past(NOW_S - 1, seen, (NOW_S - 60,), "nothing answers")


def test_a_sidecar_that_was_never_there_has_no_past(desk, sidecar):
    sidecar.past = Away("nothing answers", NOW_S, None, None)
    assert desk.past() == Past(NOW_S, away="nothing answers")
    assert desk.past().samples == ()
