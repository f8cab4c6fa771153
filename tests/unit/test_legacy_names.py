"""Slugs and file names of the first web application's jobs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.results import legacy_names


@given(st.text())
def test_a_slug_is_short_plain_and_stays_as_it_is(text):
    try:
        slug = legacy_names.job_name(text)
    except ValueError:
        return
    assert slug == legacy_names.job_name(slug)
    assert 1 <= len(slug) <= 63
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug.strip("-") == slug


@pytest.mark.parametrize("text", ["", "!!!", "../..", "日本"])
def test_a_name_of_which_nothing_is_left_is_refused(text):
    with pytest.raises(ValueError, match="no letter"):
        legacy_names.job_name(text)


def test_names_are_those_of_the_first_job_folders():
    assert legacy_names.job_name("My Job: 5'-NT") == "my-job-5-nt"
    assert legacy_names.job_name("../evil") == "evil"
    assert [legacy_names.file_name("a", kind) for kind in legacy_names.KINDS] == [
        *("a_geneset.txt", "a_job_config.json", "a_job_info.json", "a_jobstatus", "a_graph.json"),
        *("a_results.txt", "a_df_probs.tsv", "a_df_GO.tsv", "a_df_dis.tsv", "a_df_convert_out_subset.tsv"),
        "a_df_edgelist.tsv",
    ]
    assert legacy_names.archive_name("a") == "a.zip"


def test_long_names_that_begin_alike_differ():
    assert legacy_names.job_name("x" * 80 + "1") != legacy_names.job_name("x" * 80 + "2")
