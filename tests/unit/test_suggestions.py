"""Suggestions: which names and keys are offered for a mistyped one, and which keys are surely meant."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_orchestration.config.validation import KNOWN_KEYS
from job_orchestration.diagnostics import suggestions


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("outputdir", "outputDir"), ("output_dir", "outputDir"), ("ouputDir", "outputDir"),
        ("task", "tasks"), ("maxAttempt", "maxAttempts"), ("max_attempts", "maxAttempts"),
        ("time_out", "timeout"), ("Seed", "seed"), ("pathToTask", "pathToTasks"),
        ("githubRepositry", "githubRepository"), ("memorylimit", "memoryLimit"),
        ("overwriteOutputfine", "overwriteOutputFine"),
        ("unsafe_ignoreDirtyCheck", "UNSAFE_ignoreDirtyCheck"), ("callbackURL", "callbackUrl"),
        ("priorty", "priority"), ("taks", "tasks"), ("retrydelay", "retryDelay"),
    ],
)  # fmt: skip
def test_a_misspelt_key_gets_a_suggestion(misspelt, meant):
    assert suggestions.nearest_key(misspelt, KNOWN_KEYS, ()) == meant


@pytest.mark.parametrize(
    "key",
    [
        "x", "y", "id", "ids", "k", "key2", "keys", "seeds", "seed2", "name2", "names", "node", "nodes",
        "tag", "lags", "mask", "masks", "input", "output", "outputs", "batchSize", "epochs", "modelType",
        "method", "methods", "where", "then", "need", "feeds", "sweeps", "geneset", "genesetFile",
        "file_loc", "net_type", "features", "sp_trn", "gsc_trn", "num_nodes", "random_state", "after2",
        "optimisationMethod", "baseOutputDir", "params", "numberTrials", "repeatNumber", "configCreated",
        "outputFormat", "limit", "time", "delay", "attempts", "paths", "jobs", "type",
    ],
)  # fmt: skip
def test_a_parameter_of_the_tasks_is_not_taken_for_a_misspelt_key(key):
    assert suggestions.nearest_key(key, KNOWN_KEYS, ()) is None


def test_a_key_that_is_there_was_not_misspelt():
    assert suggestions.nearest_key("output_dir", KNOWN_KEYS, {"outputDir"}) is None


@settings(max_examples=60, deadline=None)
@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_a_distance_is_symmetric_and_zero_only_between_equals(one, other):
    assert suggestions.distance(one, other, 6) == suggestions.distance(other, one, 6)
    assert (suggestions.distance(one, other, 6) == 0) == (one == other)


@settings(max_examples=60, deadline=None)
@given(st.text("abc", max_size=6), st.text("abc", max_size=6), st.integers(0, 6))
def test_a_distance_is_exact_up_to_the_largest_of_interest(one, other, most):
    letters = suggestions.distance(one, other, 6)
    found = suggestions.distance(one, other, most)
    assert found == letters if letters <= most else found > most
    assert letters == plain_distance(one, other)


def plain_distance(one, other):
    """The same by its definition, which tries every way."""
    if not one or not other:
        return len(one) + len(other)
    ways = [plain_distance(one[1:], other[1:]) + (one[0] != other[0])]
    ways += [plain_distance(one[1:], other) + 1, plain_distance(one, other[1:]) + 1]
    if one[:2] == other[1::-1]:
        ways.append(plain_distance(one[2:], other[2:]) + 1)
    return min(ways)


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("statsu", ["status"]), ("STATUS", ["status"]), ("cancle", ["cancel"]), ("rety", ["retry"]),
        ("Trian", ["Train"]), ("exp-1/a", ["exp_1/a", "exp_2/a"]), ("reslt", ["results"]),
        ("zzz", []), ("x", []), ("", []),
    ],
)  # fmt: skip
def test_the_nearest_names_are_found_in_their_order(mistyped, meant):
    known = ["status", "cancel", "retry", "Train", "results", "exp_2/a", "exp_1/a", "unlike/exp_9"]
    assert suggestions.nearest_names(mistyped, known, most=3) == meant
    assert suggestions.nearest_names(mistyped, known) == meant[:1]
