"""What an unquoted scalar means: YAML 1.2, and nothing that JSON cannot say."""

from __future__ import annotations

import pytest

from job_orchestration.config.yaml_scalars import resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1E5", 100000.0), (".5", 0.5), ("5.", 5.0), ("-1.5e+3", -1500.0), ("+7", 7),
        ("010", 10), ("0o17", 15), ("0x1F", 31), ("-0", 0), ("12_000", "12_000"), ("1:30", "1:30"),
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("=", "="),
        ("true", True), ("True", True), ("TRUE", True), ("false", False), ("tRUE", "tRUE"),
        ("~", None), ("null", None), ("Null", None), ("NULL", None), ("", None), ("nULL", "nULL"),
        ("2026-11-20", "2026-11-20"), ("2026-13-45", "2026-13-45"), ("2026-11-20 05:15", "2026-11-20 05:15"),
        ("0b1", "0b1"), ("1.2.3", "1.2.3"), ("e5", "e5"),
        ("0o8", "0o8"), ("٣", "٣"), ("inf", "inf"), ("nan", "nan"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text, value):
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1e999", "the number '1e999' is too large"),
        ("9" * 4301, "the number '99999999999999999999…' has too many digits"),
        ("0x" + "f" * 4000, "the number '0xffffffffffffffffff…' has too many digits"),
    ],
)
def test_a_number_that_is_too_large_is_refused(text, sentence):
    with pytest.raises(ValueError, match=r"number") as refused:
        resolve(text)
    assert str(refused.value) == sentence


def test_a_number_of_4300_digits_is_read():
    assert resolve("9" * 4300) == 10**4300 - 1
