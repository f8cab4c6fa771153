"""The bodies of requests, with examples for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_MOST_NAMES = 1000
_CONFIG: Any = {
    "outputDir": "8e3jt5kz",
    "tasks": [
        {"id": "load", "method": "job_orchestration.geneplexus:LoadGeneset"},
        {"id": "train", "method": "job_orchestration.geneplexus:RunGenePlexus"},
    ],
}


class NewJob(BaseModel):
    """A config, and the contents of the files that it needs."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"config": _CONFIG, "inputs": {"genesetFile": ["CCNO", "CENPF"]}}]},
    )
    config: dict[str, Any] = Field(description="A config, as a file in ConfigSources would say it.")
    inputs: dict[str, Any] = Field(
        default={},
        description="Key of the config to a content, a text, a list of lines or JSON, that becomes a file.",
    )


class EnqueueRequest(BaseModel):
    """What to queue: one or several jobs that lie in ConfigSources, by name, or a config."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"jobnames": ["8e3jt5kz"]},
                {"jobname": "8e3jt5kz"},
                {"jobname": "8e3jt5kz", "config": _CONFIG, "inputs": {"genesetFile": ["CCNO", "CENPF"]}},
            ]
        },
    )
    jobname: str | None = Field(
        default=None, description="The name of a job; with a config, the name that it gets."
    )
    jobid: str | None = Field(default=None, description="The same as jobname.")
    jobnames: list[str] | None = Field(default=None, min_length=1, max_length=_MOST_NAMES)
    config: dict[str, Any] | None = Field(
        None, description="A config, as a file in ConfigSources would say it."
    )
    inputs: dict[str, Any] = Field(
        default={}, description="Contents for keys of the config; each becomes a file of the run."
    )

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        given = [self.jobname, self.jobid, self.jobnames]
        if sum(name is not None for name in given) > 1:
            raise ValueError("give one of jobname, jobid and jobnames")
        if self.config is None and all(name is None for name in given):
            raise ValueError("give jobname, jobnames or config")
        if self.config is not None and self.jobnames is not None:
            raise ValueError("a config is one job: give jobname instead of jobnames")
        if self.config is None and self.inputs:
            raise ValueError("inputs belong to a config")
        return self

    @property
    def names(self) -> list[str]:
        """The named jobs, each once."""
        one = self.jobname if self.jobname is not None else self.jobid
        return list(dict.fromkeys(self.jobnames or ([] if one is None else [one])))


class TestRequest(BaseModel):
    """Which job to execute now."""

    __test__ = False
    model_config = ConfigDict(json_schema_extra={"examples": [{"jobname": "8e3jt5kz"}]})
    jobname: str = Field(description="The name of a job in ConfigSources, or of one that waits.")


class RetryRequest(BaseModel):
    """How to go on."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"fresh": False}]})
    task: str | None = Field(
        default=None, description="Go on from this task; later checkpoints are discarded."
    )
    fresh: bool = Field(default=False, description="Begin from scratch.")


class Enqueued(BaseModel):
    """What became of each job."""

    jobs: list[dict[str, Any]] = Field(description="A job each, as GET /jobs/NAME shows it.")


class FileList(BaseModel):
    """The files of a job."""

    files: list[str] = Field(description="Paths for GET /jobs/NAME/files/PATH.", examples=[["log.log"]])


class Health(BaseModel):
    """That the server answers."""

    status: str = Field(examples=["ok"])
