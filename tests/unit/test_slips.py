"""Slips: which unknown keys are pointed out, and which are surely meant."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_orchestration.rules import slips
from job_orchestration.rules.checking import KNOWN_KEYS


@pytest.mark.parametrize(
    ("slip", "meant"),
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
def test_a_slip_is_pointed_out(slip, meant):
    assert slips.slip_for(slip, KNOWN_KEYS, ()) == meant


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
def test_a_parameter_of_the_tasks_is_no_slip(key):
    assert slips.slip_for(key, KNOWN_KEYS, ()) is None


def test_a_key_that_is_there_was_not_misspelt():
    assert slips.slip_for("output_dir", KNOWN_KEYS, {"outputDir"}) is None


@settings(max_examples=60, deadline=None)
@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_a_distance_is_symmetric_and_zero_only_between_equals(one, other):
    assert slips.distance(one, other) == slips.distance(other, one)
    assert (slips.distance(one, other) == 0) == (one == other)
