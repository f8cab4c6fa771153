"""Each state of a run has one word and one code."""

import itertools

import pytest

from job_orchestration.runs import status_codes
from job_orchestration.runs.events import Outcome
from job_orchestration.runs.state import Status
from job_orchestration.workspace.layout import Place

WORDS = {
    *("sources", "to_run", "held", "running", "interrupted", "completed", "failed", "cancelled", "pruned"),
    "unknown",
}


def test_every_place_and_outcome_has_one_word_and_one_code():
    places = itertools.product([None, *Place], [None, *Outcome])
    statuses = itertools.product([None, *Status], [None, *Outcome])
    found = [status_codes.of_place(*one) for one in places]
    found += [status_codes.of_status(*one) for one in statuses]
    codes = {}
    for one in found:
        codes.setdefault(one.status, set()).add(one.code)
        assert one.text == status_codes.job_status_codes[one.code]
    assert set(codes) == WORDS
    assert codes.pop("failed") == {500, 504}, (
        "only a failure has two codes: the second says that time ran out"
    )
    assert all(len(of_word) == 1 for of_word in codes.values())


def test_a_place_and_a_journal_tell_the_same_status():
    for place, status in [
        (None, None),
        (Place.TO_RUN, Status.READY),
        (Place.RUNNING, Status.RUNNING_TASK),
        (Place.RUNNING, Status.FAILED_TASK),
        (Place.COMPLETED, Status.COMPLETE),
        (Place.FAILED, Status.FAILED),
    ]:
        for outcome in [None, *Outcome]:
            assert status_codes.of_place(place, outcome) == status_codes.of_status(status, outcome)


@pytest.mark.parametrize(
    ("place", "outcome", "code"),
    [
        (None, None, 404),
        (Place.SOURCES, None, 201),
        (Place.TO_RUN, None, 202),
        (Place.HELD, None, 202),
        (Place.RUNNING, "error", 202),
        (Place.INTERRUPTED, None, 202),
        (Place.COMPLETED, "ok", 200),
        (Place.FAILED, "error", 500),
        (Place.FAILED, "oom", 500),
        (Place.FAILED, "cancelled", 500),
        (Place.FAILED, "timeout", 504),
        (Place.FAILED, "hang", 504),
    ],
)
def test_the_codes_are_those_that_web_applications_know(place, outcome, code):
    assert status_codes.of_place(place, outcome).code == code


def test_every_word_that_was_ever_used_for_a_status_has_its_code():
    old = (
        "submitted started saving complete failed running SUBMITTED new processing done 404 incomplete error"
    )
    assert {word: status_codes.code_of_word(word) for word in old.split()} == {
        **dict.fromkeys(["submitted", "started", "saving", "running", "SUBMITTED", "new", "processing"], 202),
        **dict.fromkeys(["complete", "done"], 200),
        **dict.fromkeys(["failed", "incomplete", "error"], 500),
        "404": 404,
    }
    assert [status_codes.code_of_word(text) for text in status_codes.job_status_codes.values()] == list(
        status_codes.job_status_codes
    )
    assert [status_codes.code_of_word(status.name) for status in Status] == [202, 202, 202, 202, 200, 500]
    assert status_codes.code_of_word("sleeping") is None
