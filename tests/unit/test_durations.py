"""Durations: the one text that people read, in tables, messages and errors."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.config.settings import parse_duration
from job_orchestration.diagnostics import durations

SIZES = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@pytest.mark.parametrize(
    ("seconds", "fine", "coarse"),
    [
        (0, "0 s", "0 s"), (0.25, "0.2 s", "0 s"), (8, "8 s", "8 s"), (8.31, "8.3 s", "8 s"),
        (9.97, "10 s", "10 s"), (12.7, "13 s", "13 s"), (59.96, "1 m", "1 m"), (60, "1 m", "1 m"),
        (99, "1 m 39 s", "1 m 39 s"), (125, "2 m 5 s", "2 m"), (3_599, "59 m 59 s", "1 h"),
        (3_600, "1 h", "1 h"),
        (3_720, "1 h 2 m", "1 h 2 m"), (86_400, "1 d", "1 d"), (90_000, "1 d 1 h", "1 d 1 h"),
    ],
)  # fmt: skip
def test_a_duration_has_its_two_largest_units_that_are_not_zero(seconds, fine, coarse):
    assert durations.text_of(seconds) == fine
    assert durations.text_of(seconds, coarse=True) == coarse


@given(st.floats(0, 3e8), st.booleans())
def test_a_duration_says_how_long_it_is(seconds, coarse):
    text = durations.text_of(seconds, coarse=coarse)
    parts = re.findall(r"([0-9.]+) ([smhd])(?: |$)", text)
    assert " ".join(f"{number} {unit}" for number, unit in parts) == text
    assert 1 <= len(parts) <= 2
    said = sum(float(number) * SIZES[unit] for number, unit in parts)
    smallest = SIZES[parts[-1][1]] if len(parts) == 2 else SIZES[parts[0][1]]
    assert abs(said - seconds) <= max(smallest, 60 if coarse and seconds >= 100 else 0)
    if len(parts) == 1:
        assert parse_duration(text) == said, "a config may say it so"
