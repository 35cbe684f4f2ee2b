from zoneinfo import ZoneInfo

import pytest

from trading_app.formats import (
    age,
    clock,
    decimals_in,
    decimals_needed,
    duration,
    known,
    number,
    plural,
    quantity,
    rate_decimals,
    size,
    utc,
)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(0, 0, "0"), (65536, 0, "65 536"), (-1234.5, 1, "\u22121 234.5"), (341.5, 2, "341.50")],
)
def test_numbers_have_narrow_groups_and_a_real_minus(value, decimals, text):
    assert number(value, decimals) == text.replace(" ", "\u202f")


def test_a_quantity_has_no_more_decimals_than_it_needs():
    assert [quantity(value) for value in (1.0, 0.25, 1e-9)] == ["1", "0.25", "0.000000001"]


def test_a_column_has_the_decimals_of_its_longest_value_up_to_a_limit():
    assert decimals_needed([1, 2.5, 0.125]) == 3
    assert decimals_needed([0.123456], most=4) == 4
    assert decimals_needed([]) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "now"),
        (0.9, "now"),
        (3.7, "3 s ago"),
        (119, "119 s ago"),
        (125, "2 min ago"),
        (7_300, "2 h ago"),
        (200_000, "2 d ago"),
    ],
)
def test_an_age_is_in_the_unit_that_a_person_would_choose(seconds, text):
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 µs"),
        (0.000_85, "850 µs"),
        (0.061, "61 ms"),
        (0.9999, "1.0 s"),
        (2.34, "2.3 s"),
        (600, "10 min"),
    ],
)
def test_a_duration_is_in_the_unit_that_a_person_would_choose(seconds, text):
    assert duration(seconds) == text


def test_a_time_is_shown_in_the_users_zone_and_in_utc_on_hover():
    assert clock(1_790_000_000.0625, ZoneInfo("Asia/Tokyo"), 3) == "23:13:20.062"
    assert utc(1_790_000_000.0625) == "2026-09-21 14:13:20.062 UTC"


def test_one_of_a_thing_has_no_s():
    assert [plural(count, "trade") for count in (0, 1, 2)] == ["0 trades", "1 trade", "2 trades"]


@pytest.mark.parametrize(
    ("rates", "decimals"),
    [([], 2), ([None, 0.04], 2), ([9.99, 1], 2), ([10, 1], 1), ([999.9], 1), ([1000, None], 0)],
)
def test_a_column_of_rates_has_the_decimals_that_its_largest_needs(rates, decimals):
    assert rate_decimals(rates) == decimals


def test_what_is_not_known_is_a_dash_and_never_zero():
    assert [known(value, 1) for value in (None, 0.0, 1234.56)] == ["—", "0.0", "1\u202f234.6"]


@pytest.mark.parametrize(
    ("values", "decimals"),
    [([0.5, 12.25], 2), ([1_127_254.6016], 1), ([330_998.0048, 1.5], 2), ([1e12], 0), ([], 0)],
)
def test_a_narrow_column_gives_up_decimals_for_digits(values, decimals):
    assert decimals_in(values, 8) == decimals


@pytest.mark.parametrize(
    ("count_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (131_072, "131 kB"),
        (4.2e6, "4.2 MB"),
        (1.5e12, "1\u202f500.0 GB"),
    ],
)
def test_a_size_is_in_the_unit_that_a_person_would_choose(count_bytes, text):
    assert size(count_bytes) == text
