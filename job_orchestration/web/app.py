"""The application: its routes, each of which asks `JobService`, and the answers for what goes wrong."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from job_orchestration.web import downloads, problem_details
from job_orchestration.web.event_streams import EventStreams
from job_orchestration.web.guard import Access, Guard
from job_orchestration.web.job_service import JobService
from job_orchestration.web.job_views import Job, JobList
from job_orchestration.web.metrics import MEDIA_TYPE as METRICS_TYPE
from job_orchestration.web.metrics import Metrics
from job_orchestration.web.problem_details import HttpError, PlainJSONResponse, ProblemDetails
from job_orchestration.web.requests import (
    Enqueued,
    EnqueueRequest,
    FileList,
    Health,
    NewJob,
    RetryRequest,
    TestRequest,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

_MEANINGS: Final = {
    400: "What was sent is wrong; `problems` has all of it.",
    401: "A token is needed.",
    403: "The request comes from another origin.",
    404: "There is no such job or file.",
    405: "The path has other methods.",
    408: "The body came too slowly.",
    409: "The state of the job does not allow it, or its name is taken.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    421: "The server does not have the name in the Host header.",
    429: "Too many requests.",
    503: "The workspace cannot be used now.",
}
_ALWAYS: Final = (400, 401, 403, 408, 413, 415, 421, 429, 503)
_OF_A_JOB: Final = (*_ALWAYS, 404, 409)
_MOST_SECONDS: Final = 230.0
_LIMITS: Final = {"ge": 1, "le": 1000}
_TEXT_BODY: Final = {"type": "string"}


def _documented(*codes: int, **more: Any) -> dict[int | str, dict[str, Any]]:
    problem = {problem_details.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    found: dict[int | str, dict[str, Any]] = {
        code: {"description": _MEANINGS[code], "content": problem} for code in sorted(codes)
    }
    return {**found, **{int(code[1:]): value for code, value in more.items()}}


def make_app(root: str, access: Access) -> ASGIApp:
    """Return the application of a workspace, behind its guard.

    Args:
        root: the folder of the workspace.
        access: who may ask.
    """
    service, metrics = JobService(root), Metrics()
    streams, followers = EventStreams(service), downloads.LogFollowers()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        streams.close()
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="job_orchestration",
        description="Submit, watch and steer the jobs of a workspace.",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=PlainJSONResponse,
        lifespan=lifespan,
    )
    _add_error_handlers(app)
    bearer = [Depends(HTTPBearer(auto_error=False, description="The token in Misc/serve/token."))]
    app.include_router(_function_routes(service, functions=access.functions), dependencies=bearer)
    app.include_router(_figure_routes(service, metrics, streams))
    app.include_router(_file_routes(service, followers, streams), dependencies=bearer)
    app.include_router(_steering_routes(service), dependencies=bearer)
    app.include_router(_job_routes(service), dependencies=bearer)
    _complete_document(app)
    return Guard(app, access, metrics)


def _complete_document(app: FastAPI) -> None:
    """Describe problems in the OpenAPI document, and no answer that is never given."""
    document = app.openapi()
    schemas = document["components"]["schemas"]
    model = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= model.pop("$defs", {})
    schemas["ProblemDetails"] = model
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(HttpError)
    async def _ours(_: Request, error: HttpError) -> Response:
        return problem_details.response_of(error)

    @app.exception_handler(HTTPException)
    async def _of_routing(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:  # noqa: PLR2004
            allowed = ", ".join(sorted(_methods_at(app, request.url.path)))
            return problem_details.answer(405, f"This path has {allowed}.", headers={"Allow": allowed})
        detail = "There is nothing at this path." if error.status_code == 404 else str(error.detail)  # noqa: PLR2004
        return problem_details.answer(error.status_code, detail, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def _of_values(_: Request, error: RequestValidationError) -> Response:
        found = [
            {"what": str(one["msg"]), "key": ".".join(str(part) for part in one["loc"][1:])}
            for one in error.errors()
        ]
        return problem_details.answer(400, "What was sent is wrong.", found)

    @app.exception_handler(Exception)
    async def _unexpected(_: Request, error: Exception) -> Response:
        return problem_details.answer(
            500, f"The server has a fault ({type(error).__name__}); its log has more."
        )


def _methods_at(app: FastAPI, path: str) -> set[str]:
    """Return the methods of all routes at a path: the first that matches it may have only one."""
    document = app.openapi()["paths"]
    found: set[str] = set()
    for template, operations in document.items():
        pattern = re.sub(r"\\{\w+\\}", ".*", re.escape(template))
        if re.fullmatch(pattern, path, re.DOTALL):
            found |= {method.upper() for method in operations}
            if not template.endswith("}"):
                return found  # a fixed ending is no part of a name
    return found


# -- the calls of the first web application ----------------------------------------------------------------


def _function_routes(service: JobService, *, functions: bool) -> APIRouter:
    routes = APIRouter(tags=["queue"])
    _add_queueing(routes, service)

    def testfn(
        wanted: TestRequest, timeout: Annotated[float, Query(ge=0, le=_MOST_SECONDS)] = 60.0
    ) -> Response:
        """Execute a job now, and wait for its end: for trying out, not for many jobs."""
        job = service.run_now(wanted.jobname, timeout)
        if job["run"] is None:
            return problem_details.answer(_code_of(job), job["message"], job.get("problems", ()), [job])
        return PlainJSONResponse(job)

    methods = ["GET", "POST"] if functions else ["POST"]
    for method in methods:
        routes.add_api_route(
            "/api/testfn",
            testfn,
            methods=[method],
            response_model=Job,
            responses=_documented(*_OF_A_JOB),
            operation_id=f"testfn_{method.lower()}",
        )

    @routes.get("/api/check", response_model=Health, responses=_documented(*_ALWAYS))
    def check() -> Response:
        """Say that the server works."""
        return PlainJSONResponse({"status": "ok"})

    return routes


def _add_queueing(routes: APIRouter, service: JobService) -> None:
    @routes.post("/api", include_in_schema=False)
    @routes.post(
        "/api/enqueue",
        status_code=202,
        response_model=Enqueued,
        responses=_documented(
            *_OF_A_JOB, _207={"description": "Some were queued; `jobs` has a code each.", "model": Enqueued}
        ),
    )
    def enqueue(wanted: EnqueueRequest, request: Request) -> Response:
        """Queue jobs that lie in ConfigSources, by name, or a config with its inputs."""
        if wanted.config is not None:
            if not request.state.has_token:
                raise HttpError(401, "A config needs the token.", headers={"WWW-Authenticate": "Bearer"})
            name = next(iter(wanted.names), None)
            return PlainJSONResponse({"jobs": [service.submit(name, wanted.config, wanted.inputs)]}, 202)
        jobs = service.enqueue(wanted.names)
        codes = {_code_of(job) for job in jobs}
        if codes == {202}:
            return PlainJSONResponse({"jobs": jobs}, 202)
        if len(codes) > 1:
            return PlainJSONResponse({"jobs": jobs}, 207)
        problems = [problem for job in jobs for problem in job.get("problems", ())]
        return problem_details.answer(
            codes.pop(), " ".join(job["message"] for job in jobs[:3]), problems, jobs
        )


def _code_of(job: dict[str, Any]) -> int:
    """Return the HTTP code of a job that was to be queued."""
    code = int(job["status_code"])
    return code if code in {400, 404, 409, 503} else 202


# -- jobs -------------------------------------------------------------------------------------------------


def _job_routes(service: JobService) -> APIRouter:
    routes = APIRouter(tags=["jobs"])

    @routes.get("/jobs", response_model=JobList, responses=_documented(*_ALWAYS))
    def jobs(
        status: Annotated[
            str, Query(description="States, separated by commas.", examples=["failed,running"])
        ] = "",
        filter: Annotated[str, Query(description="An expression.", examples=["lr < 0.1"])] = "",  # noqa: A002
        name: Annotated[str, Query(description="A name or a glob.", examples=["2026*"])] = "",
        limit: Annotated[int, Query(**_LIMITS)] = 100,
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    ) -> Response:
        """List jobs: running ones first, completed ones last."""
        found, total = service.jobs(status, filter, name, limit, offset)
        return PlainJSONResponse({"jobs": found, "total": total, "limit": limit, "offset": offset})

    @routes.get("/jobs/{name:path}", response_model=Job, responses=_documented(*_OF_A_JOB))
    def job(name: str) -> Response:
        """Show a job."""
        return PlainJSONResponse(service.job(name))

    @routes.post(
        "/jobs/{name:path}",
        response_model=Job,
        responses=_documented(*_OF_A_JOB, _202={"description": "The config was queued.", "model": Job}),
    )
    def post_job(name: str, wanted: NewJob | None = None) -> Response:
        """Queue a config under this name; without a body, show the job, as a receiver of callbacks does."""
        if wanted is None:
            return PlainJSONResponse(service.job(name))
        return PlainJSONResponse(service.submit(name, wanted.config, wanted.inputs), 202)

    @routes.delete(
        "/jobs/{name:path}", status_code=204, response_class=Response, responses=_documented(*_OF_A_JOB)
    )
    def delete_job(name: str) -> Response:
        """Move an ended job to the trash, from which `restore` brings it back."""
        service.delete(name)
        return Response(status_code=204)

    return routes


def _steering_routes(service: JobService) -> APIRouter:
    routes = APIRouter(tags=["jobs"])
    common: dict[str, Any] = {"response_model": Job, "responses": _documented(*_OF_A_JOB)}

    @routes.post("/jobs/{name:path}/cancel", **common)
    def cancel(name: str) -> Response:
        """End a job now; a retry resumes it."""
        return PlainJSONResponse(service.cancel(name))

    @routes.post("/jobs/{name:path}/retry", **common)
    def retry(name: str, wanted: RetryRequest | None = None) -> Response:
        """Queue a failed or cancelled job again; it goes on from its checkpoint."""
        how = wanted or RetryRequest()
        return PlainJSONResponse(service.retry(name, how.task, fresh=how.fresh))

    @routes.post("/jobs/{name:path}/rerun", **common)
    def rerun(name: str) -> Response:
        """Queue an ended job once more, in the same code, config and seed; the answer is the new job."""
        return PlainJSONResponse(service.rerun(name))

    return routes


def _file_routes(service: JobService, followers: downloads.LogFollowers, streams: EventStreams) -> APIRouter:
    routes = APIRouter(tags=["files"])

    @routes.get("/jobs/{name:path}/files", response_model=FileList, responses=_documented(*_OF_A_JOB))
    def files(name: str) -> Response:
        """List the files of a job."""
        return PlainJSONResponse({"files": service.files(name)})

    @routes.get(
        "/jobs/{name:path}/files/{path:path}",
        response_class=StreamingResponse,
        responses=_documented(*_OF_A_JOB, _200=_of_types(downloads.TEXT, downloads.BYTES, "image/png")),
    )
    def file(name: str, path: str) -> Response:
        """Send a file of a job, to be saved."""
        parts = f"{name}/files/{path}".split("/files/")
        for number in range(1, len(parts)):  # the first name that is one; a path may hold such a word too
            try:
                service.record("/files/".join(parts[:number]))
            except HttpError:
                continue
            return downloads.file_response(
                *service.file("/files/".join(parts[:number]), "/files/".join(parts[number:]))
            )
        return downloads.file_response(*service.file(name, path))

    @routes.get(
        "/jobs/{name:path}/log",
        response_class=StreamingResponse,
        responses=_documented(*_OF_A_JOB, _200=_of_types(downloads.TEXT)),
    )
    async def log(name: str, follow: bool = False) -> Response:  # noqa: FBT001, FBT002  # a query parameter
        """Send the log of a job; with `follow`, also what is added until it has ended."""
        run = await asyncio.to_thread(service.run, name)
        path = os.path.join(await asyncio.to_thread(lambda: str(run.folder)), "log.log")
        return followers.follow(path, (lambda: run.has_ended) if follow else lambda: True)

    _add_events(routes, service, streams)
    return routes


def _add_events(routes: APIRouter, service: JobService, streams: EventStreams) -> None:
    @routes.get(
        "/jobs/{name:path}/events",
        response_class=StreamingResponse,
        responses=_documented(
            *_OF_A_JOB, _200={"description": "Events.", "content": {"text/event-stream": {}}}
        ),
    )
    async def events(name: str) -> Response:
        """Send the job whenever it changes, as server-sent events, until it has ended."""
        job = await asyncio.to_thread(service.job, name)
        if job["run"] is None:
            raise HttpError(409, "The job is not queued yet.")
        return StreamingResponse(streams.open(job), media_type="text/event-stream")


def _figure_routes(service: JobService, metrics: Metrics, streams: EventStreams) -> APIRouter:
    routes = APIRouter(tags=["server"])

    @routes.get("/healthz", response_model=Health, responses=_documented(*(c for c in _ALWAYS if c != 401)))  # noqa: PLR2004
    def health() -> Response:
        """Say that the server answers and sees its workspace; needs no token."""
        if not os.path.isdir(service.place.to_run):
            raise HttpError(503, "The workspace is not there.")
        return PlainJSONResponse({"status": "ok"})

    @routes.get(
        "/metrics",
        response_class=Response,
        responses=_documented(*_ALWAYS, _200=_of_types(METRICS_TYPE)),
        dependencies=[Depends(HTTPBearer(auto_error=False))],
    )
    def figures() -> Response:
        """Send the figures of the workspace and the server, for Prometheus."""
        return Response(metrics.text(service, streams.count), media_type=METRICS_TYPE)

    return routes


def _of_types(*types: str) -> dict[str, Any]:
    return {"description": "The content.", "content": {name: {"schema": _TEXT_BODY} for name in types}}
