"""Write runs into a folder or a ZIP archive that needs neither this workspace nor this package.

It is made beside its place and gets its name when it is complete. Only plain files are copied: what a task
left behind as a link, a pipe or a device is named in the list instead.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.code import packed_commits
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.config import json_floats
from job_orchestration.exchange import manifest
from job_orchestration.exchange.manifest import ExportedFile, ExportedRun, Manifest
from job_orchestration.runs import artifact_store, environments, journal, trash
from job_orchestration.runs.opening import PROVENANCE
from job_orchestration.runs.state import Status
from job_orchestration.workspace import clock, durable, safe_reads, scratch_folders

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace

ZIP: Final = ".zip"
_CHUNK: Final = 1 << 20
_DIGEST: Final = re.compile(rb"\b[0-9a-f]{64}\b")


def write(
    workspace: Workspace, runs: Mapping[str, RunState], target: Path, *, ro_crate: bool = False
) -> Manifest:
    """Write an export of ended runs; all of it or nothing.

    Args:
        workspace: has the runs.
        runs: their states by name.
        target: does not exist; a name that ends in ``.zip`` becomes an archive.
        ro_crate: whether to add the metadata of an RO-Crate.

    Raises:
        CodeError: if the store does not hold the code of a run.
        OSError: if something cannot be read or written.
    """
    with scratch_folders.beside(target) as scratch:
        made = scratch / scratch_folders.EXPORT
        made.mkdir()
        found = _Exporter(workspace, made).write(runs)
        if ro_crate:
            from job_orchestration.exchange import ro_crates

            ro_crates.write(made, found)
        if target.name.lower().endswith(ZIP):
            _pack(made, scratch / scratch_folders.ARCHIVE)
            made = scratch / scratch_folders.ARCHIVE
            durable.sync_file(str(made))
            durable.rename(str(made), str(target))
            durable.sync_folder(str(target.parent))
        else:
            durable.sync_tree(str(made))
            durable.rename_folder(str(made), str(target))
    return found


class _Exporter:
    """Writes one export.

    Args:
        workspace: has the runs.
        folder: an empty folder.
    """

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self._workspace = workspace
        self._folder = folder
        self._store = CodeStore(Path(workspace.misc))
        self._files: dict[str, ExportedFile] = {}
        self._left_out: list[str] = []
        self._requirements: dict[str, str] = {}

    def write(self, runs: Mapping[str, RunState]) -> Manifest:
        """Write all files; return their list."""
        commits = dict.fromkeys(s.code.commit for s in runs.values() if s.code is not None)
        others = (commit for state in runs.values() for commit in state.commits.values())
        found = Manifest(
            clock.timestamp(),
            tuple([self._run(run, state) for run, state in runs.items()]),
            {commit: self._code(commit) for commit in dict.fromkeys((*commits, *others)) if commit},
            self._files,
            tuple(self._left_out),
        )
        (self._folder / manifest.NAME).write_text(found.text(), encoding="utf-8")
        runner = Path(__file__).with_name("standalone_runner.py")
        shutil.copyfile(runner, self._folder / "run.py")
        (self._folder / "README.md").write_text(_readme(found), encoding="utf-8")
        return found

    def _run(self, run: str, state: RunState) -> ExportedRun:
        folder = self._workspace.run_folder(run)
        for path in self._plain_files(run, folder, with_resume=state.status is not Status.COMPLETE):
            self._copy(os.path.join(folder, path), f"runs/{run}/{path}")
        self._records(folder)
        return ExportedRun(
            run=run,
            config=state.config,
            status=state.status.name,
            commit=state.code.commit if state.code else None,
            tasks_folder=state.code.folder if state.code else ".",
            seed=state.seed,
            values=dict(state.values),
            results={task.id: task.result for task in state.tasks},
            requirements=self._packages(run, state),
            started_at=state.started_at,
            ended_at=state.ended_at,
        )

    def _plain_files(self, run: str, folder: str, *, with_resume: bool) -> Iterator[str]:
        """Yield the paths of a run's plain files, and note what else there is."""
        skipped = {artifact_store.PARTIAL} | (set() if with_resume else {artifact_store.RESUME})
        for parent, folders, names in os.walk(folder):
            inside = os.path.relpath(parent, folder)
            if inside == ".":
                folders[:] = [name for name in folders if name not in skipped]
            for name in (*sorted(names), *folders):
                path = os.path.normpath(os.path.join(inside, name))
                mode = os.lstat(os.path.join(folder, path)).st_mode
                if not (stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and manifest.is_inside(path))):
                    self._left_out.append(f"{run}/{path}".encode(errors="backslashreplace").decode())
                elif stat.S_ISREG(mode):
                    yield path
            folders[:] = sorted(name for name in folders if not os.path.islink(os.path.join(parent, name)))

    def _copy(self, source: str, path: str) -> None:
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with safe_reads.plain_file(source) as (descriptor, _), open(target, "xb") as copy:
            while chunk := os.read(descriptor, _CHUNK):
                digest.update(chunk)
                size += copy.write(chunk)
        self._files[path] = ExportedFile(size, digest.hexdigest())

    def _records(self, folder: str) -> None:
        """Copy the lists that provenance and journal name by digest, and those that these name."""
        ahead = [safe_reads.whole(os.path.join(folder, PROVENANCE))] if _has_provenance(folder) else []
        ahead += [journal.content(folder, number) for number in journal.attempts(folder)]
        while ahead:
            for digest in {found.decode() for found in _DIGEST.findall(ahead.pop())}:
                for kind in manifest.RECORDS:
                    source = os.path.join(self._workspace.misc, kind, f"{digest}.json")
                    path = f"records/{kind}/{digest}.json"
                    if path not in self._files and os.path.isfile(source):
                        self._copy(source, path)
                        ahead.append(safe_reads.whole(source))

    def _packages(self, run: str, state: RunState) -> str:
        """Write the packages of a run, once for each set of them; return the name of the file."""
        described = environments.of_run(self._workspace, run, state)
        editable = described.get("editable") or {}
        packages = described[environments.PACKAGES]
        if not packages:
            return ""
        own = {"pip", "setuptools", "wheel", "job-orchestration", *editable}
        lines = [f"# Python {described.get('python', '?')}"]
        lines += [f"{name}=={version}" for name, version in sorted(packages.items()) if name not in own]
        lines += [f"# {name} was installed from {json.dumps(about)}" for name, about in editable.items()]
        text = "\n".join(lines) + "\n"
        if text not in self._requirements:
            number = len(self._requirements)
            self._requirements[text] = f"requirements{f'-{number + 1}' if number else ''}.txt"
            (self._folder / self._requirements[text]).write_text(text, encoding="utf-8")
        return self._requirements[text]

    def _code(self, commit: str) -> dict[str, object]:
        """Write a commit: its pack, and its files as a snapshot has them."""
        base = f"code/{commit}"
        folder = self._folder / base
        folder.mkdir(parents=True)
        packed = packed_commits.write(self._store, commit, folder)
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(self._folder).as_posix()
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._files[name] = ExportedFile(path.stat().st_size, digest)
        snapshot = self._store.snapshot(commit)
        self._store.mend_snapshot(
            commit, lambda files: trash.put_files_away(self._workspace, f"snapshot {commit[:12]}", files)
        )
        _copy_tree(snapshot, folder / "files")
        return {"modules": list(packed.modules), "lfs": dict(packed.large)}


def _copy_tree(source: Path, target: Path) -> None:
    """Copy the files of a snapshot; a link becomes a copy of what it shows, if that is inside."""
    target.mkdir()
    for parent, folders, names in os.walk(source):
        here = target / os.path.relpath(parent, source)
        for name in folders:
            if not os.path.islink(os.path.join(parent, name)):
                (here / name).mkdir(exist_ok=True)
        for name in names:
            path = Path(parent, name).resolve()
            if path.is_file() and path.is_relative_to(source.resolve()):
                shutil.copyfile(path, here / name)
                (here / name).chmod(path.stat().st_mode | stat.S_IWUSR)


def _has_provenance(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, PROVENANCE))


def _pack(folder: Path, target: Path) -> None:
    """Write a folder as a ZIP archive."""
    with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())


def _readme(found: Manifest) -> str:
    names = [json.dumps(run.run, ensure_ascii=False) for run in found.runs]
    listed = "\n".join(f"- {name}: {run.status}" for name, run in zip(names, found.runs, strict=True))
    first = json_floats.text_of(found.runs[0].run, ensure_ascii=False)
    return f"""\
# Exported runs

{listed}

Exported at {found.exported_at} by job_orchestration. Run one of them again with Python 3.11 or later and the
packages that its tasks import; job_orchestration itself is not needed:

    python -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python run.py {first if len(found.runs) > 1 else ""}

| path | what |
|---|---|
| `runs/` | the output folder of each run: config, provenance, journal, log, the files of its tasks |
| `code/COMMIT/files/` | the code as it ran |
| `requirements.txt` | the packages that were installed; `run.py` does not check them |
| `run.py` | runs the tasks in order with the recorded config and seed, and compares what they return |
| `export.json` | the runs and files, with the SHA-256 of each; `python run.py --check` compares them |
| `code/COMMIT/commit.pack`, `records/` | for `job-orchestration import`, which takes the runs in |

What is not the same with `run.py`: the tasks run in one process without checkpoints, tries, time limits and
memory limits; packages, Python and machine are yours; data that lies elsewhere is not part of this export.
"""
