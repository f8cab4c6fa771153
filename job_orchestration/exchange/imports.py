"""Take the runs of an export into a workspace: each whole or not at all.

Everything is copied and checked beside its place first: digests, the config against the journal, the journal
against its own rules, every object of the code. Then the code is pinned. Then the run becomes an entry of
the trash in one rename, and is restored from there as any run in the trash: so a kill at any moment leaves
nothing, an entry of the trash, or a move that the next command finishes (`runs.trash`).

Nothing of an export is executed. Its tasks are when somebody reruns or retries the run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.code import packed_commits
from job_orchestration.code.packed_commits import PackedCommit
from job_orchestration.code.snapshots import SCRATCH, CodeStore
from job_orchestration.config import json_floats, yaml_writer
from job_orchestration.diagnostics.errors import CodeError, OrchestrationError
from job_orchestration.diagnostics.problems import Fault, escaped
from job_orchestration.exchange import manifest
from job_orchestration.runs import (
    event_codec,
    journal,
    lifecycle,
    opening,
    stored_lists,
    submitted_files,
    token_header,
    trash,
)
from job_orchestration.runs.events import Readied
from job_orchestration.runs.opening import CONFIG, PROVENANCE
from job_orchestration.runs.state import Status
from job_orchestration.workspace import clock, durable, naming, safe_reads
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from job_orchestration.exchange.manifest import ExportedRun
    from job_orchestration.exchange.sources import Source
    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace

_MOST_NUMBER: Final = 10_000


@dataclass(frozen=True, slots=True)
class Imported:
    """A run that was imported, or why it was not."""

    original: str
    """Its name in the export."""
    run: str | None = None
    """Its name here; `None` if it was not imported."""
    fault: Fault | None = None


class _RefusedError(Exception):
    """A run is not imported."""

    def __init__(self, what: str, todo: str = "Export the run again") -> None:
        super().__init__(what)
        self.fault = Fault(what, todo)


def import_all(workspace: Workspace, source: Source) -> list[Imported]:
    """Import all runs of an export; one that is refused keeps no other back.

    Raises:
        UsageError: if the export is damaged as a whole, or there is no space.
        OSError: if the workspace cannot be written.
    """
    source.insist_on_space(workspace.misc)
    done = []
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=workspace.misc) as scratch:
        for number, exported in enumerate(source.manifest.runs):
            place = Path(scratch, str(number))
            place.mkdir()
            try:
                done.append(Imported(exported.run, _Importer(workspace, source, exported, place).run()))
            except _RefusedError as error:
                done.append(Imported(exported.run, fault=error.fault))
            except OrchestrationError as error:
                done.append(Imported(exported.run, fault=Fault(*_parts(error))))
            shutil.rmtree(place)
    return done


def _parts(error: OrchestrationError) -> tuple[str, str]:
    return error.what, error.todo


class _Importer:
    """Imports one run.

    Args:
        workspace: where it goes.
        source: the export.
        exported: the run.
        scratch: an empty folder on the file system of the workspace.
    """

    def __init__(self, workspace: Workspace, source: Source, exported: ExportedRun, scratch: Path) -> None:
        self._workspace = workspace
        self._source = source
        self._exported = exported
        self._folder = scratch / "run"
        self._scratch = scratch

    def run(self) -> str:
        """Import the run; return its name here."""
        self._copy_run()
        state = self._checked()
        for commit in dict.fromkeys(self._commits_of(state)):
            self._take_code(commit)
        self._take_records()
        with opening.only_one(self._workspace):
            opening.recover(self._workspace)
            trash.settle(self._workspace)
            name = self._free_name(state)
            self._note_origin(name)
            self._publish(name, state)
        return name

    # -- copying and checking -----------------------------------------------------------------------------

    def _copy(self, prefix: str, target: Path) -> int:
        """Copy all listed files below a path; return their number."""
        number = 0
        for path in self._source.manifest.files:
            if path.startswith(prefix):
                to = target / path.removeprefix(prefix)
                to.parent.mkdir(parents=True, exist_ok=True)
                self._source.copy(path, str(to))
                number += 1
        return number

    def _copy_run(self) -> None:
        run = self._exported.run
        inside = naming.path_inside(run, "")
        if inside != run:
            why = inside.what if isinstance(inside, Fault) else f"it would be {inside}"
            raise _RefusedError(f"{run!r:.200} cannot be the name of a run: {why}")
        self._folder.mkdir()
        try:
            copied = self._copy(f"runs/{run}/", self._folder)
        except (FileExistsError, NotADirectoryError):
            raise _RefusedError(f"{escaped(run)}: a file of it lies in the place of a folder") from None
        if not copied:
            raise _RefusedError(f"{escaped(run)}: the export has no files of it")

    def _checked(self) -> RunState:
        """Return the state of the copied run, once config, journal and name are known to fit together."""
        run = self._exported.run
        try:
            data = safe_reads.whole(str(self._folder / CONFIG))
            state = lifecycle.fold(journal.read(str(self._folder)))
        except OSError as error:
            raise _RefusedError(f"{escaped(run)}: its config or journal cannot be read ({error})") from None
        if token_header.run_named_in(data) != run:
            raise _RefusedError(f"{escaped(run)}: its config names another run")
        if state.readied_at is None or state.digest != hashlib.sha256(data).hexdigest():
            raise _RefusedError(f"{escaped(run)}: its config is not the one that its journal was begun with")
        if state.status not in {Status.COMPLETE, Status.FAILED}:
            raise _RefusedError(f"{escaped(run)}: it has not ended", "Export it when it has ended")
        if naming.stem_problem(f"{state.config}.yaml"):
            raise _RefusedError(f"{escaped(run)}: its config has a name that no config can have")
        return state

    def _commits_of(self, state: RunState) -> list[str]:
        own = [] if state.code is None else [state.code.commit]
        return [*own, *(commit for commit in state.commits.values() if commit)]

    def _take_code(self, commit: str) -> None:
        about = self._source.manifest.commits.get(commit)
        if about is None:
            raise _RefusedError(
                f"{escaped(self._exported.run)}: the export lacks its code, {escaped(commit[:12])}"
            )
        packed = PackedCommit(commit, tuple(about["modules"]), about["lfs"])
        if not packed.is_well_formed:
            raise _RefusedError(f"{escaped(self._exported.run)}: {escaped(commit[:80])} is no commit")
        folder = self._scratch / "code"
        folder.mkdir()
        wanted = {packed_commits.PACK, *(f"{packed_commits.LARGE}/{d}" for d in packed.large.values())}
        (folder / packed_commits.LARGE).mkdir()
        for name in wanted:
            path = f"code/{commit}/{name}"
            if path not in self._source.manifest.files:
                raise _RefusedError(f"{escaped(self._exported.run)}: the export lacks {escaped(path)}")
            self._source.copy(path, str(folder / name))
        try:
            packed_commits.read(CodeStore(Path(self._workspace.misc)), packed, folder)
        except (CodeError, FileNotFoundError) as error:
            raise _RefusedError(
                f"{escaped(self._exported.run)}: its code cannot be imported ({error})"
            ) from None
        shutil.rmtree(folder)

    def _take_records(self) -> None:
        """Store the lists that are named by digest, those that are what their names say."""
        for path in self._source.manifest.files:
            parts = path.split("/")
            if len(parts) != 3 or parts[0] != "records" or parts[1] not in manifest.RECORDS:  # noqa: PLR2004
                continue
            target = self._scratch / "record"
            self._source.copy(path, str(target))
            data = safe_reads.whole(str(target))
            target.unlink()
            try:
                value = json_floats.value_of(data)
            except (ValueError, RecursionError):
                continue
            if f"{stored_lists.digest_of(value)}.json" == parts[2]:
                stored_lists.write(os.path.join(self._workspace.misc, parts[1]), value)

    # -- its name -----------------------------------------------------------------------------------------

    def _free_name(self, state: RunState) -> str:
        """Return the run's name, or the first ``name-2``, ``name-3``, … that is free here."""
        original = self._exported.run
        for number in count(1):
            name = original if number == 1 else f"{original}-{number}"
            folder = self._workspace.run_folder(name)
            if not os.path.lexists(folder):
                break
            if number > _MOST_NUMBER or _is_same(folder, state):
                raise _RefusedError(
                    f"{escaped(original)} is here already, as {escaped(name)}", "There is nothing to import"
                )
        fault = trash.obstacle(self._workspace, name)
        if fault is not None:
            raise _RefusedError(f"{escaped(original)}: {fault.what}", fault.todo)
        if name != original:
            self._rename(name)
        return name

    def _rename(self, name: str) -> None:
        """Give the copied run another name: in its config, and in the event that begins its journal."""
        path = Path(journal.path_of(str(self._folder), 0))
        entries, _ = journal.read_file(str(self._folder), 0)
        first, *rest = entries
        assert isinstance(first.event, Readied)
        submitted = os.listdir(inputs) if (inputs := self._folder / submitted_files.FOLDER).is_dir() else ()
        values = submitted_files.renamed(first.event.values, name, submitted)
        header = f"{token_header.HEADER}{name}\n{token_header.comment_of(values)}"
        data = yaml_writer.to_yaml(values, comment=header)
        (self._folder / CONFIG).write_bytes(data)
        event = replace(first.event, values=values, digest=hashlib.sha256(data).hexdigest())
        lines = [event_codec.encode(entry) for entry in (replace(first, event=event), *rest)]
        path.write_bytes(b"".join(lines))

    def _note_origin(self, name: str) -> None:
        """Write into the provenance where the run comes from."""
        path = self._folder / PROVENANCE
        found: object = {}
        if path.is_file():
            try:
                found = json_floats.value_of(safe_reads.whole(str(path)))
            except (ValueError, RecursionError):
                found = {}
        origin = {
            "from": os.path.basename(os.path.normpath(self._source.path)),
            "at": clock.timestamp(),
            "run": self._exported.run,
            "exported_at": self._source.manifest.exported_at,
        }
        digest = hashlib.sha256((self._folder / CONFIG).read_bytes()).hexdigest()
        own = {"run": name, "digest": digest, "imported": origin}
        values = {**(found if isinstance(found, dict) else {}), **own}
        text = json_floats.text_of(values, indent=1, ensure_ascii=False) + "\n"
        path.write_bytes(text.encode("utf-8", "backslashreplace"))

    # -- its place ----------------------------------------------------------------------------------------

    def _publish(self, name: str, state: RunState) -> None:
        """Make the run an entry of the trash in one step, and restore it."""
        stem = naming.bounded(state.config, naming.MOST_STEM_BYTES)
        entry = self._scratch / "entry"
        entry.mkdir()
        os.rename(self._folder, entry / os.path.basename(name))
        shutil.copyfile(entry / os.path.basename(name) / CONFIG, entry / str(TokenName(stem)))
        durable.sync_tree(str(entry))
        found = trash.add(self._workspace, str(entry))
        fault = trash.bring_back(self._workspace, found)
        if fault is not None:
            raise _RefusedError(f"{escaped(name)}: {fault.what}", fault.todo)


def _is_same(folder: str, state: RunState) -> bool:
    """Return whether a run here began at the same moment with the same seed: it is the same one."""
    try:
        entries, _ = journal.read_file(folder, 0)
    except OSError:
        return False
    first = entries[0] if entries else None
    return (
        first is not None
        and isinstance(first.event, Readied)
        and (first.at, first.event.seed) == (state.readied_at, state.seed)
    )
