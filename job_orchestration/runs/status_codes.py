"""The status of a run as one word and one HTTP-like code, for applications that submit jobs.

The words are those of ``runs(status=…)``; the codes and their texts are those that web applications around
GenePlexus know. A status is always derived, from where a run is or from the fold of its journal; it is stored
nowhere. A waiting or running job has the code 202 however often a task is tried again, because it still ends
without anybody's doing. A run that was cancelled or pruned did not complete and has the code 500. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from job_orchestration.runs.events import INTENDED, Outcome
from job_orchestration.runs.state import Status
from job_orchestration.workspace.layout import Place

COMPLETED: Final = 200
CREATED: Final = 201
ACCEPTED: Final = 202
NOT_FOUND: Final = 404
FAILED: Final = 500
TIMEOUT: Final = 504

job_status_codes: Final[dict[int, str]] = {
    COMPLETED: "Completed",
    CREATED: "Created",
    ACCEPTED: "Accepted",
    NOT_FOUND: "Not Found",
    FAILED: "Failed",
    TIMEOUT: "Timeout",
}
"""Each code and its text."""

ENDED: Final = frozenset({COMPLETED, FAILED, TIMEOUT})
"""The codes of jobs that have ended."""
_LATE: Final = frozenset({Outcome.TIMEOUT, Outcome.HANG})
_UNKNOWN: Final = "unknown"


class StatusCode(NamedTuple):
    """The status of a job in the form that applications use."""

    status: str
    """``sources``, ``to_run``, ``held``, ``running``, ``interrupted``, ``completed``, ``failed``,
    ``cancelled`` or ``pruned``; ``unknown`` if there is no such job."""
    code: int
    """One of `job_status_codes`."""

    @property
    def text(self) -> str:
        """The text of the code, such as ``Accepted``."""
        return job_status_codes[self.code]


def of_place(place: Place | None, outcome: str | None = None) -> StatusCode:
    """Return the status of a config or run.

    Args:
        place: where it is; `None` if there is none of that name.
        outcome: how the run ended, if it has.
    """
    match place:
        case None:
            return StatusCode(_UNKNOWN, NOT_FOUND)
        case Place.SOURCES:
            return StatusCode(str(place), CREATED)
        case Place.COMPLETED:
            return StatusCode(str(place), COMPLETED)
        case Place.FAILED if outcome in INTENDED:
            return StatusCode(str(outcome), FAILED)
        case Place.FAILED:
            return StatusCode(str(place), TIMEOUT if outcome in _LATE else FAILED)
        case _:
            return StatusCode(str(place), ACCEPTED)


def of_status(status: Status | None, outcome: str | None = None) -> StatusCode:
    """Return the status of a run from the fold of its journal, for a message about one of its events.

    Args:
        status: what the journal folds to; `None` if there is no journal.
        outcome: how the run ended, if it has.
    """
    match status:
        case None:
            return of_place(None)
        case Status.READY:
            return of_place(Place.TO_RUN)
        case Status.COMPLETE:
            return of_place(Place.COMPLETED)
        case Status.FAILED:
            return of_place(Place.FAILED, outcome)
        case Status.RUNNING_TASK | Status.FINISHED_TASK | Status.FAILED_TASK:
            return of_place(Place.RUNNING)


_OLD_WORDS: Final = {
    "created": CREATED,
    **dict.fromkeys(("accepted", "submitted", "new", "queued", "ready", "pending"), ACCEPTED),
    **dict.fromkeys(("started", "running", "processing", "saving", "running_task"), ACCEPTED),
    **dict.fromkeys(("finished_task", "failed_task", "to_run", "held", "interrupted"), ACCEPTED),
    **dict.fromkeys(("complete", "completed", "done", "executed"), COMPLETED),
    **dict.fromkeys(("failed", "error", "incomplete", "internal server error"), FAILED),
    **dict.fromkeys(("cancelled", "pruned"), FAILED),
    **dict.fromkeys(("timeout", "timed out"), TIMEOUT),
    **dict.fromkeys(("not found", "unknown"), NOT_FOUND),
}


def code_of_word(word: str) -> int | None:
    """Return the code of a status word that applications use or used; `None` if it is none.

    Args:
        word: such as ``Completed``, ``done``, ``submitted``, ``saving`` or ``404``, in any case.
    """
    text = word.strip().lower().replace("_", " ")
    if text.isdecimal() and int(text) in job_status_codes:
        return int(text)
    return _OLD_WORDS.get(text, _OLD_WORDS.get(text.replace(" ", "_")))
