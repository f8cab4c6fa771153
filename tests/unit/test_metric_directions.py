"""Which way is better for a figure, as configs say it."""

from __future__ import annotations

import pytest

from job_orchestration.config import metric_directions, settings
from job_orchestration.config.settings import RULES

BOTH = {"loss": "minimize", "train.accuracy": "maximize", "accuracy": "minimize"}


@pytest.mark.parametrize(
    ("column", "found"),
    [
        ("loss", False),
        ("train.loss", False),
        ("train.metrics.loss", False),
        ("train.accuracy", True),
        ("test.accuracy", False),
        ("train.floss", None),
        ("loss.train", None),
    ],
)
def test_a_figure_is_named_by_its_column_or_the_last_parts_and_the_longest_name_wins(column, found):
    assert metric_directions.is_highest_best({"metricDirections": BOTH}, column) is found


@pytest.mark.parametrize("value", [["loss"], {"loss": "lower"}, {"loss": None}, {"": "minimize"}, "loss"])
def test_what_is_no_mapping_to_the_two_words_is_refused_and_says_nothing(value):
    assert RULES["metricDirections"].read(value) is None
    assert metric_directions.is_highest_best({"metricDirections": value}, "loss") is None


def test_configs_that_disagree_say_nothing():
    low, high = ({"metricDirections": {"loss": word}} for word in ("minimize", "maximize"))
    assert metric_directions.agreed([low, {}, low], "loss") is False
    assert metric_directions.agreed([low, high], "loss") is None
    assert metric_directions.agreed([{}], "loss") is None
    assert settings.settings_of(low).metric_directions == (("loss", "minimize"),)
