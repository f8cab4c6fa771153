"""Run one job as GenePlexus's first web application did: by its flags or its container's variables.

``python -m job_orchestration.geneplexus.runner -o OUT -n NET -f FEAT -g GSC -j JOB -d DATA [-cv] FILE``

=========================================  =================================================================
``GENE_FILE DATA_PATH JOBNAME``            FILE, ``-d`` and ``-j``
``GP_NET_TYPE GP_FEATURES GP_GSC``         ``-n``, ``-f`` and ``-g``
``OUTPUT_FILE``                            its folder is OUT; it gets a short report, and .log the course
``JOBS_PATH`` or ``JOB_PATH``              without the above, OUT is the folder JOB in it
``APP_POST_URL`` or ``CALLBACK_URL``       ``{"status": 200}`` or 500 is posted to URL/JOB at the end
=========================================  =================================================================

The job is an ordinary run in a workspace of its own, ``OUT/.job_orchestration``: killed, it goes on from its
checkpoint when the same command is given again. Its files are copied to OUT when it has completed.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from job_orchestration import OrchestrationError, Workspace
from job_orchestration.geneplexus import checkpoints, legacy_files
from job_orchestration.results import legacy_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration import Run

OWN_WORKSPACE: Final = ".job_orchestration"
FAILED: Final = "Failed"
_MODULE: Final = "job_orchestration.geneplexus"
_POST_LIMIT: Final = 10.0
_RENAMED: Final = {"Embedding": "SixSpeciesN2V"}
"""Values of the first GenePlexus whose successor computes the same kind of thing; others are refused."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job.

    Returns:
        0 if it completed, 1 if it failed or was refused, 2 if the arguments do not suit.
    """
    try:
        job = _Job(_arguments(argv, os.environ), os.environ)
    except ValueError as error:
        _say(str(error))
        return 2
    job.note("STARTED")
    try:
        run = job.run()
    except (OrchestrationError, OSError) as error:
        job.note(str(error))
        run = None
    is_complete = run is not None and run.status == "completed"
    if not is_complete:
        job.fail()
    job.note("COMPLETED" if is_complete else "ERROR")
    job.post(200 if is_complete else 500)
    return 0 if is_complete else 1


class _Job:
    """One job: where its files are, and what it asks for.

    Raises:
        ValueError: if its name has no letter and no digit, or it has no file of genes.
    """

    def __init__(self, given: argparse.Namespace, environment: Mapping[str, str]) -> None:
        if not given.gene_file:
            raise ValueError("There is no file of genes. Give FILE, or GENE_FILE in the environment.")
        self.name = legacy_names.job_name(given.jobname)
        self.given, self.environment = given, environment
        self.report = environment.get("OUTPUT_FILE", "")
        jobs = environment.get("JOBS_PATH") or environment.get("JOB_PATH")
        inside = (
            os.path.dirname(self.report) or "." if self.report else jobs and os.path.join(jobs, self.name)
        )
        self.out = Path(given.output_path or inside or ".").expanduser().absolute()

    def run(self) -> Run:
        """Queue the job or find it begun, work until it has ended, and copy its files."""
        self.out.mkdir(parents=True, exist_ok=True)
        workspace = Workspace.create(self.out / OWN_WORKSPACE)
        run = self._begun(workspace) or workspace.submit(self._config(), name=self.name)
        workspace.work(say=self.note)
        run.wait()
        if run.status == "completed":
            self._copy(run.folder)
        else:
            self.note(run.error or run.status)
        return run

    def fail(self) -> None:
        """Write the status of a job that has no results."""
        with suppress(OSError):
            checkpoints.replace(self._path("jobstatus"), FAILED.encode())

    def _begun(self, workspace: Workspace) -> Run | None:
        """The unended run of an earlier call with the same arguments."""
        wanted = self._config()
        for run in workspace.runs(status="to_run,running,interrupted"):
            if run.name == self.name and all(run.config.get(key) == value for key, value in wanted.items()):
                return run
        return None

    def _config(self) -> dict[str, Any]:
        given = self.given
        if given.features in _RENAMED:
            self.note(f"{given.features} features are those of {_RENAMED[given.features]} today.")
        names = ("LoadGeneset", "RunGenePlexus", "SaveResults")
        return {
            "tasks": [
                {"id": id_, "method": f"{_MODULE}:{name}"}
                for id_, name in zip(("load", "run", "save"), names, strict=True)
            ],
            "file_loc": os.path.abspath(os.path.expanduser(given.data_path)),
            "genesetFile": os.path.abspath(os.path.expanduser(given.gene_file)),
            "net_type": given.net_type,
            "features": _RENAMED.get(given.features, given.features),
            "GSC": given.gsc,
            "cross_validate": given.cross_validate,
            "jobname": self.name,
            "legacyNames": True,
            "zip": True,
            "overwriteOutputFine": True,
        }

    def _copy(self, folder: Path) -> None:
        """Copy the files of a completed run; its status comes last."""
        kinds = [kind for kind in legacy_names.KINDS if kind != "jobstatus"]
        names = [legacy_names.archive_name(self.name), *(self._path(kind).name for kind in kinds)]
        for name in names:
            checkpoints.replace(self.out / name, (folder / name).read_bytes())
        if self.report:
            said = html.escape((folder / "save" / "methods.txt").read_text("utf-8"))
            text = f"<html><body><pre>{said}</pre></body></html>\n"
            checkpoints.replace(Path(self.report).absolute(), text.encode())
        checkpoints.replace(self._path("jobstatus"), legacy_files.STATUS.encode())

    def _path(self, kind: str) -> Path:
        return self.out / legacy_names.file_name(self.name, kind)

    def note(self, line: str) -> None:
        """Say a line, and append it to the log beside the report."""
        _say(line)
        if self.report:
            self.out.mkdir(parents=True, exist_ok=True)
            with open(f"{self.report}.log", "a", encoding="utf-8") as log:
                log.write(f"{line}\n")

    def post(self, status: int) -> None:
        """Post the status to the application, if it wants to hear it; a failure is only noted."""
        base = self.environment.get("APP_POST_URL") or self.environment.get("CALLBACK_URL")
        if not base:
            return
        url = f"{base.rstrip('/')}/{self.name}"
        if not url.startswith(("http://", "https://")):
            self.note(f"{url} is no http address. The status is not posted.")
            return
        body = json.dumps({"status": status}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  the scheme is looked at above
        try:
            with urllib.request.urlopen(request, timeout=_POST_LIMIT):  # noqa: S310  the same
                self.note(f"The status {status} is posted to {url}.")
        except (urllib.error.URLError, OSError, ValueError) as error:
            self.note(f"The status cannot be posted to {url}: {error}.")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _arguments(argv: Sequence[str] | None, environment: Mapping[str, str]) -> argparse.Namespace:
    """Parse the flags of the first runner; what is not given comes from the environment."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {_MODULE}.runner", description="Run one GenePlexus job."
    )
    of = environment.get
    parser.add_argument("-o", "--output_path", default="", help="folder for the files")
    parser.add_argument(
        "-n", "--net_type", default=of("GP_NET_TYPE") or "BioGRID", help="STRING, BioGRID or IMP"
    )
    parser.add_argument("-f", "--features", default=of("GP_FEATURES") or "SixSpeciesN2V")
    parser.add_argument("-g", "--GSC", dest="gsc", default=of("GP_GSC") or "GO", help="GO, Monarch, …")
    parser.add_argument("-j", "--jobname", default=of("JOBNAME") or "jobrunner")
    parser.add_argument("-d", "--data_path", default=of("DATA_PATH") or "./", help="folder of the data")
    parser.add_argument("-cv", "--cross_validation", dest="cross_validate", action="store_true")
    parser.add_argument("--no-cv", "--no_cross_validation", dest="cross_validate", action="store_false")
    parser.set_defaults(cross_validate=True)
    parser.add_argument("gene_file", nargs="?", default=of("GENE_FILE"), help="file of genes")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
