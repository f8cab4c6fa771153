"""Answers that say what is wrong: problem details as JSON, RFC 9457."""

from __future__ import annotations

import http
import json
from typing import TYPE_CHECKING, Any, Final

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from job_orchestration.diagnostics.errors import (
    BusyError,
    OrchestrationError,
    RefusedError,
    UsageError,
    WorkspaceError,
)
from job_orchestration.submission.reports import problems_as_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.diagnostics.problems import Problem

MEDIA_TYPE: Final = "application/problem+json"


class FoundProblem(BaseModel):
    """One thing that is wrong with what was sent."""

    what: str = Field(description="What is wrong.")
    todo: str = Field("", description="What to do about it.")
    key: str = Field("", description="The key that it is about.", examples=["tasks[0].method"])
    file: str = ""
    line: int = 0
    column: int = 0
    severity: str = "error"


class ProblemDetails(BaseModel):
    """What is wrong, as RFC 9457 says it."""

    type: str = Field("about:blank", description="The kind of problem.")
    title: str = Field(description="The text of the status code.", examples=["Not Found"])
    status: int = Field(description="The status code.", examples=[404])
    detail: str = Field(description="One sentence of what is wrong and one of what to do.")
    problems: list[FoundProblem] = Field(default=[], description="All that is wrong, one by one.")
    jobs: list[dict[str, Any]] = Field(default=[], description="The state of each job that was named.")


class PlainJSONResponse(JSONResponse):
    """JSON in ASCII: a name that is no valid Unicode can be sent as well."""

    def render(self, content: Any) -> bytes:
        """Return the bytes of a value."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class HttpError(Exception):
    """A request that cannot be done, with its status code."""

    def __init__(
        self,
        status: int,
        detail: str,
        problems: Sequence[Problem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.problems = tuple(problems)
        self.headers = dict(headers or {})


def body_of(
    status: int,
    detail: str,
    problems: Sequence[Mapping[str, Any]] = (),
    jobs: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the object of a problem."""
    found: dict[str, Any] = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return {**found, **({"problems": [*problems]} if problems else {}), **({"jobs": [*jobs]} if jobs else {})}


def answer(
    status: int,
    detail: str,
    problems: Sequence[Mapping[str, Any]] = (),
    jobs: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> PlainJSONResponse:
    """Return the response of a problem."""
    content = body_of(status, detail, problems, jobs)
    return PlainJSONResponse(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def of_error(error: OrchestrationError) -> HttpError:
    """Return the HTTP error of one of ours."""
    match error:
        case RefusedError():
            return HttpError(409, str(error), error.problems)
        case BusyError():
            return HttpError(503, str(error), headers={"Retry-After": "1"})
        case WorkspaceError():
            return HttpError(503, str(error))
        case UsageError():
            return HttpError(400, str(error))
        case _:
            return HttpError(409, str(error))


def response_of(error: HttpError) -> PlainJSONResponse:
    """Return the response of an HTTP error."""
    problems = problems_as_json(error.problems)
    return answer(error.status, error.detail, problems, headers=error.headers)
