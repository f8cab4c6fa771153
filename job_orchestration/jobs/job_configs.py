"""From what an application hands in to the config of a run: names of keys, required keys, defaults. Pure.

Without ``tasks`` of its own a job is the built-in GenePlexus experiment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.problems import Problem
from job_orchestration.jobs.environment import called_for_each_job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "net_type": (),
    "features": (),
    "GSC": ("gsc", "gsc_trn"),
}
"""The parameters that GenePlexus's web application asks for, and their newer names."""
JOB_NAME: Final = ("jobname", "job_name")
_CALLBACKS: Final = ("callbackUrl", "callback_url", "job_url")
_ADDRESSES: Final = ("notifyAddress", "notify_address", "notifyaddress")
_OF_APPLICATION: Final = frozenset({
    *("jobid", "job_id", "input_file_name", "outputDir"),
    *(*JOB_NAME, *_CALLBACKS, *_ADDRESSES),
})  # fmt: skip
"""Keys of an application that no task reads."""
_GENEPLEXUS: Final = "job_orchestration.geneplexus"
_TASKS: Final = (
    {"id": "load", "method": f"{_GENEPLEXUS}:LoadGeneset"},
    {"id": "train", "method": f"{_GENEPLEXUS}:RunGenePlexus"},
    {"id": "save", "method": f"{_GENEPLEXUS}:SaveResults"},
)


def name_of(job_config: Mapping[str, Any]) -> str:
    """Return the name that a job is to have; empty if it says none."""
    return next((str(job_config[key]) for key in JOB_NAME if job_config.get(key)), "")


def is_geneplexus(job_config: Mapping[str, Any]) -> bool:
    """Return whether a job is the built-in experiment: it names no tasks of its own."""
    return not job_config.get("tasks")


def problems_of(job_config: Mapping[str, Any]) -> list[Problem]:
    """Return one problem for each key that is missing."""
    label = f"{name_of(job_config) or 'job'}.yaml"
    found = []
    if not name_of(job_config):
        found.append(Problem(label, "the job has no name", "Give one: jobname", JOB_NAME[0]))
    if is_geneplexus(job_config):
        found += [
            Problem(label, f"{key} is missing", f"Give it: {key}, such as in docs/geneplexus.md", key)
            for key, newer in REQUIRED.items()
            if not any(job_config.get(name) for name in (key, *newer))
        ]
    return found


def config_of(
    job_config: Mapping[str, Any],
    *,
    callback_url: str | None = None,
    notify_address: str | None = None,
    data_path: str | None = None,
) -> dict[str, Any]:
    """Return the config of the run of a job; its name and its inputs are given when it is submitted.

    Args:
        job_config: what the application handed in.
        callback_url: called at the end, if `job_config` has no address of its own.
        notify_address: gets mail, if `job_config` has no other address.
        data_path: the folder of GenePlexus's data, if `job_config` names none.
    """
    config = {key: value for key, value in job_config.items() if key not in _OF_APPLICATION}
    given = callback_url and called_for_each_job(callback_url)
    callback = next((job_config[key] for key in _CALLBACKS if job_config.get(key)), given)
    address = next((job_config[key] for key in _ADDRESSES if job_config.get(key)), notify_address)
    if callback:
        config["callbackUrl"] = callback
    if address:
        config["notifyAddress"] = address
    if is_geneplexus(job_config):
        config["tasks"] = [dict(task) for task in _TASKS]
        config.setdefault("legacyNames", True)  # so that its files are found by the names of a job
        if data_path and "file_loc" not in config:
            config["file_loc"] = data_path
    return config


def input_keys(job_config: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """Return the key of the config for each input: GenePlexus reads ``geneset`` from ``genesetFile``."""
    if is_geneplexus(job_config):
        return {name: f"{name}File" if name in {"geneset", "negatives"} else name for name in names}
    return {name: name for name in names}
