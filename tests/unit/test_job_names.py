"""The safe names of jobs and of their files."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration import UsageError
from job_orchestration.jobs import job_configs, job_names

SAFE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@given(st.text(max_size=200))
def test_a_safe_name_is_safe_everywhere_and_its_own_safe_name(name):
    try:
        safe = job_names.path_friendly_job_name(name)
    except UsageError:
        return
    assert SAFE.fullmatch(safe)
    assert job_names.path_friendly_job_name(safe) == safe


@pytest.mark.parametrize("name", ["", "///", "...", "!?", "\n", "日本"])
def test_a_name_without_letters_or_digits_is_refused(name):
    with pytest.raises(UsageError, match="cannot name a job"):
        job_names.path_friendly_job_name(name)


def test_names_are_made_safe_as_people_expect_and_long_ones_stay_apart():
    assert job_names.path_friendly_job_name("My Job") == "my-job"
    assert job_names.path_friendly_job_name("../evil") == "evil"
    assert job_names.path_friendly_job_name("Müller_2") == "muller-2"
    one, two = (job_names.path_friendly_job_name("x" * 80 + end) for end in "ab")
    assert len(one) == len(two) == 63
    assert one != two


def test_an_id_has_eight_letters_and_digits_behind_the_prefix_of_a_person():
    made = job_names.job_id(lambda letters: letters[-1])
    assert made == "99999999"
    assert job_names.with_prefix("My Genes", made) == "my-genes-99999999"
    assert job_names.with_prefix("", made) == made
    assert len(job_names.with_prefix("long " * 30, made)) <= 41


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "a..b", "x\n", ".hidden"])
def test_no_name_of_a_file_leads_out_of_its_job(name):
    with pytest.raises(UsageError, match="cannot name a file"):
        job_names.file_name("job", name, ".txt")


def test_a_files_name_begins_with_its_jobs_and_is_not_doubled():
    assert job_names.file_name("job", "df_probs", ".tsv") == "job_df_probs.tsv"
    assert job_names.file_name("job", "job_df_probs.tsv", ".tsv") == "job_df_probs.tsv"


def test_an_applications_parameters_become_a_config():
    given_ = {
        "net_type": "BioGRID",
        "features": "SixSpeciesN2V",
        "GSC": "GO",
        "max_num_genes": 50,
        "jobname": "x",
        "jobid": "y",
        "job_url": "https://example.org/jobs/x",
        "notifyaddress": "a@b.org",
    }
    assert job_configs.problems_of(given_) == []
    made = job_configs.config_of(given_, callback_url="https://example.org/other")
    assert {task["method"].rpartition(":")[2] for task in made.pop("tasks")} == {
        *("LoadGeneset", "RunGenePlexus", "SaveResults")
    }
    assert made.pop("legacyNames") is True
    assert made == {
        "net_type": "BioGRID",
        "features": "SixSpeciesN2V",
        "GSC": "GO",
        "max_num_genes": 50,
        "callbackUrl": "https://example.org/jobs/x",
        "notifyAddress": "a@b.org",
    }
    assert job_configs.input_keys(given_, ["geneset", "other"]) == {
        "geneset": "genesetFile",
        "other": "other",
    }
    own = {"tasks": [{"id": "a", "method": "m:T"}]}
    assert job_configs.config_of(own, callback_url="https://example.org/jobs")["callbackUrl"] == (
        "https://example.org/jobs/{run}"
    )
    assert job_configs.input_keys(own, ["geneset"]) == {"geneset": "geneset"}


def test_every_missing_key_of_a_job_is_named():
    assert [problem.key for problem in job_configs.problems_of({})] == [
        *("jobname", "net_type", "features", "GSC")
    ]
