"""Times and sizes: what a number or a text with a unit means."""

from __future__ import annotations

import pytest

from job_orchestration.config.settings import parse_duration, parse_size


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0), (90, 90.0), (0.5, 0.5), ("30s", 30.0), ("5m", 300.0), ("4h", 14_400.0), ("1d", 86_400.0),
        ("1.5h", 5_400.0), ("5 m", 300.0), ("0s", 0.0), (315_360_000, 315_360_000.0),
    ],
)  # fmt: skip
def test_a_time_is_a_number_or_a_text_with_a_unit(value, seconds):
    assert parse_duration(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        None,
        -1,
        "-5m",
        "5",
        "5 min",
        "m",
        "",
        "5M",
        "1h30m",
        [],
        {},
        10**400,
        1e300,
        "9" * 400 + "d",
        "٣s",
    ],
)
def test_anything_else_is_no_time(value):
    assert parse_duration(value) is None


@pytest.mark.parametrize(
    ("value", "size"),
    [(1, 1), ("8G", 8 * 10**9), ("500M", 5 * 10**8), ("1.5K", 1500), ("2T", 2 * 10**12), ("8Gi", 8 * 2**30),
     ("8 GB", 8 * 10**9), ("64KiB", 65_536)],
)  # fmt: skip
def test_a_size_is_a_number_or_a_text_with_a_unit(value, size):
    assert parse_size(value) == size


@pytest.mark.parametrize(
    "value", [True, None, 0, -1, 1.5, "8", "8X", "0G", "8g", "", [], {}, 10**400, "9" * 400 + "T", "-1G"]
)
def test_anything_else_is_no_size(value):
    assert parse_size(value) is None
