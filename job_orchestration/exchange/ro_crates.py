"""``ro-crate-metadata.json``: an export as an RO-Crate 1.1 with the profile Process Run Crate 0.5.

Needs the extra ``[rocrate]``. The versions are pinned: validators know these, and the library writes a later
one by default. The library makes the metadata only; the files are in their places already.
"""

from __future__ import annotations

import importlib.util
import json
import mimetypes
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from job_orchestration.diagnostics.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rocrate.rocrate import ROCrate

    from job_orchestration.exchange.manifest import ExportedRun, Manifest

NAME: Final = "ro-crate-metadata.json"
VERSION: Final = "1.1"
PROFILE: Final = "https://w3id.org/ro/wfrun/process/0.5"
_ENDED: Final = {"COMPLETE": "CompletedActionStatus", "FAILED": "FailedActionStatus"}
_FORMATS: Final = {
    **dict.fromkeys(("yaml", "yml"), "application/yaml"),
    "jsonl": "application/jsonl",
    "log": "text/plain",
    "md": "text/markdown",
    "tsv": "text/tab-separated-values",
}
"""Media types that differ between systems, or that the standard library does not know."""
_NO_LICENSE: Final = {
    "@type": "CreativeWork",
    "name": "No license stated",
    "description": "Ask who made this export under which terms it may be used.",
}


def require() -> None:
    """Raise an error if the library is not installed.

    Raises:
        UsageError: it is not.
    """
    if importlib.util.find_spec("rocrate") is None:
        raise UsageError(
            "--ro-crate needs the package rocrate, which is not installed",
            "Install it: pip install 'job-orchestration[rocrate]'",
        )


def write(folder: Path, found: Manifest) -> None:
    """Write the metadata of an export.

    Args:
        folder: has all files of the export.
        found: their list.
    """
    from rocrate.model import ContextEntity, DataEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version=VERSION)
    crate.name = f"Runs of job_orchestration: {', '.join(run.run for run in found.runs)}"
    crate.description = (
        "Experiments with their code, config, log and outputs; README.md says how to run them."
    )
    crate.root_dataset["datePublished"] = found.exported_at
    crate.license = crate.add(ContextEntity(crate, "#no-license", properties=_NO_LICENSE))
    profile = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    crate.root_dataset["conformsTo"] = crate.add(ContextEntity(crate, PROFILE, properties=profile))
    files = {
        path: crate.add(DataEntity(crate, quote(path), properties=_file(path, file.bytes, file.sha256)))
        for path, file in found.files.items()
    }
    for name in ("README.md", "run.py", "export.json"):
        about = {"@type": "File", "name": name, "encodingFormat": _format_of(name)}
        crate.add(DataEntity(crate, name, properties=about))
    code = {commit: _add_code(crate, commit, folder) for commit in found.commits}
    created = [_add_run(crate, run, files, code.get(run.commit or "")) for run in found.runs]
    crate.root_dataset["mentions"] = _one_or_all(created)
    text = json.dumps(crate.metadata.generate(), indent=1, ensure_ascii=False)
    (folder / NAME).write_text(f"{text}\n", encoding="utf-8")


def _file(path: str, size: int, digest: str) -> dict[str, Any]:
    name = path.rpartition("/")[2]
    about = {"@type": "File", "name": name, "encodingFormat": _format_of(name)}
    return {**about, "contentSize": str(size), "sha256": digest}


def _format_of(name: str) -> str:
    """Return the media type of a file by the ending of its name."""
    _, dot, ending = name.rpartition(".")
    known = _FORMATS.get(ending.lower()) if dot else None
    return known or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _one_or_all(entities: list[Any]) -> Any:
    """Return a single entity as it is, as JSON-LD of crates wants it, and several as a list."""
    return entities[0] if len(entities) == 1 else entities


def _add_code(crate: ROCrate, commit: str, folder: Path) -> Any:
    """Add the code of a commit: the software that the runs used, and its folder."""
    from rocrate.model import ContextEntity, DataEntity

    path = f"code/{commit}/files/"
    if (folder / path).is_dir():
        crate.add(DataEntity(crate, path, properties={"@type": "Dataset", "name": f"code at {commit[:12]}"}))
    about = {"@type": "SoftwareApplication", "name": "Tasks of the runs", "softwareVersion": commit}
    return crate.add(ContextEntity(crate, f"#code-{commit}", properties=about))


def _add_run(crate: ROCrate, run: ExportedRun, files: dict[str, Any], software: Any) -> Any:
    from rocrate.model import ContextEntity

    start = f"runs/{run.run}/"
    config = files.get(f"{start}config.yaml")
    about: dict[str, Any] = {
        "@type": "CreateAction",
        "name": f"Run {run.run}",
        "description": f"The tasks of {start}config.yaml, executed in order by job_orchestration",
        "actionStatus": {"@id": f"http://schema.org/{_ENDED.get(run.status, 'FailedActionStatus')}"},
    }
    for key, moment in (("startTime", run.started_at), ("endTime", run.ended_at)):
        about |= {key: _milliseconds(moment)} if moment else {}
    made = crate.add(ContextEntity(crate, f"#run-{quote(run.run, safe='')}", properties=about))
    if software is None:
        own = {"@type": "SoftwareApplication", "name": "Installed packages; requirements.txt lists them"}
        software = crate.add(ContextEntity(crate, "#installed-packages", properties=own))
    made["instrument"] = software
    if config is not None:
        made["object"] = config
    results = [entity for path, entity in files.items() if path.startswith(start) and entity is not config]
    made["result"] = _one_or_all(results)
    return made


def _milliseconds(moment: str) -> str:
    """Return a time as validators take it: ISO 8601 with milliseconds, and an offset in digits."""
    with suppress(ValueError):
        return datetime.fromisoformat(moment).isoformat(timespec="milliseconds")
    return moment
