"""A disk that forgets: what a power cut may leave of a workspace, on a disk weaker than any real one.

Before each durable operation the whole workspace is looked at, with contents, so that also what was written
without asking is known. From these looks a weak disk is computed: the content of a file is there for sure
only as it was at its last fsync, the names in a folder only as they were at the last fsync of that folder.
Of everything since then any part may be there, independently: names one by one, contents as they were, cut
off in the middle, or as zeros. Two things are taken from real file systems: what happens to one name happens
in order, and a rename happens to both its names or to none.
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from job_orchestration.workspace.durable import Operation

LINK = b"\0symbolic link to "
"""Begins the content of a symbolic link. What it points to is there as soon as its name is."""
Node = tuple[int, int]
"""A file or folder: its inode's number, and how often that number was met anew."""


class Look(NamedTuple):
    """A workspace at one moment, by inode numbers."""

    folders: dict[int, dict[str, int]]
    files: dict[int, tuple[bytes, int]]
    """Content and time of the last change in ns."""
    root: int


class Step(NamedTuple):
    """An operation, and what it found."""

    name: str
    path: str
    look: Look


def look_at(root: str) -> Look:
    """Everything in a folder."""
    found = Look({}, {}, os.stat(root).st_ino)
    left = [root]
    while left:
        folder = left.pop()
        names = found.folders[os.stat(folder).st_ino] = {}
        for entry in os.scandir(folder):
            status = entry.stat(follow_symlinks=False)
            names[entry.name] = status.st_ino
            if entry.is_dir(follow_symlinks=False):
                left.append(entry.path)
            elif entry.is_symlink():
                found.files[status.st_ino] = LINK + os.fsencode(os.readlink(entry.path)), status.st_mtime_ns
            else:
                found.files[status.st_ino] = Path(entry.path).read_bytes(), status.st_mtime_ns
    return found


class Recorder:
    """The interceptor of `durable` that looks first; its forks write to the same record.

    Args:
        workspace: what is looked at.
        record: the file that it is written to.
        dies: the name of an operation and a part of its path: before the first such one, the process and
            what it works for are killed.
    """

    def __init__(self, workspace: Path, record: Path, dies: tuple[str, str] | None = None) -> None:
        self._workspace = str(workspace)
        self._record = record
        self._dies = dies

    def __call__(self, operation: Operation, call: Callable[[], object]) -> object:
        step = Step(operation.name, operation.path, look_at(self._workspace))
        dies = self._dies is not None and operation.name == self._dies[0] and self._dies[1] in operation.path
        with self._record.open("ab") as file:
            pickle.dump(step._replace(name="death") if dies else step, file)
        if dies:
            for process in (os.getsid(0), os.getpid()):  # its worker, and itself
                os.kill(process, signal.SIGKILL)
        return call()


def steps_of(record: Path) -> list[Step]:
    """What was recorded."""
    found = []
    with record.open("rb") as file:
        while True:
            try:
                found.append(pickle.load(file))
            except EOFError:
                return found


@dataclass
class _Change:
    """A name that came to a folder, or went, and is not known to be on the disk."""

    folder: Node
    name: str
    target: Node | None
    old: Node | None
    other: _Change | None = None
    """The other half of a rename."""


@dataclass
class Disk:
    """What is on the disk for sure, and what may be.

    Args:
        root: the workspace, for the paths in the record.
        forgets: the operations that do nothing on this disk; for the controls.
    """

    root: str
    forgets: frozenset[str] = frozenset()
    folders: dict[Node, dict[str, Node]] = field(default_factory=dict)
    files: dict[Node, bytes] = field(default_factory=dict)
    changes: list[_Change] = field(default_factory=list)
    written: dict[Node, list[bytes]] = field(default_factory=dict)
    """Contents of files that were seen since they were last synced."""
    times: dict[Node, int] = field(default_factory=dict)
    _seen: dict[Node, dict[str, Node]] = field(default_factory=dict)
    _contents: dict[Node, bytes] = field(default_factory=dict)
    _top: Node = (0, 0)
    _epochs: dict[int, int] = field(default_factory=dict)
    _present: set[int] = field(default_factory=set)
    _were_folders: set[Node] = field(default_factory=set)
    """All folders so far: one that was removed may be there again, and empty, after a power cut."""

    # -- following the record -----------------------------------------------------------------------------

    def begin(self, look: Look) -> None:
        """Take a workspace for safely on the disk."""
        self.see(look)
        self._keep_all()

    def _keep_all(self) -> None:
        self.folders = {node: dict(names) for node, names in self._seen.items()}
        self.files = dict(self._contents)
        self.changes.clear()
        self.written.clear()

    def see(self, look: Look) -> None:
        """Note what is different since the last look."""
        present = look.folders.keys() | look.files.keys()
        for number in present - self._present:
            self._epochs[number] = self._epochs.get(number, 0) + 1
        self._present = set(present)
        self._top = self._node(look.root)
        seen = {
            self._node(folder): {name: self._node(n) for name, n in names.items()}
            for folder, names in look.folders.items()
        }
        self._note_names(seen)
        self._seen = seen
        self._were_folders |= seen.keys()
        contents = {self._node(n): content for n, (content, _) in look.files.items()}
        for node, content in contents.items():
            if content.startswith(LINK):
                self.files[node] = content
            elif self._contents.get(node) != content:
                self.written.setdefault(node, []).append(content)
        self._contents.update(contents)
        self.times.update({self._node(n): time for n, (_, time) in look.files.items()})

    def _node(self, number: int) -> Node:
        return number, self._epochs[number]

    def _note_names(self, seen: dict[Node, dict[str, Node]]) -> None:
        came: list[_Change] = []
        went: list[_Change] = []
        for folder in seen.keys() | self._seen.keys():
            before, after = self._seen.get(folder, {}), seen.get(folder, {})
            for name in before.keys() | after.keys():
                old, new = before.get(name), after.get(name)
                if old != new:
                    (came if new else went).append(_Change(folder, name, new, old))
        for change in went:
            change.other = next((c for c in came if c.target == change.old and c.other is None), None)
            if change.other is not None:
                change.other.other = change
        self.changes += [*came, *went]

    def make(self, step: Step) -> None:
        """Have an operation reach the disk, if it is one that does."""
        if step.name in self.forgets:
            return
        node = self._find(step.path)
        if step.name == "fsync" and node is not None:
            self.files[node] = self._contents[node]
            self.written.pop(node, None)
        elif step.name == "fsync_folder" and node is not None:
            synced = {id(c) for c in self.changes if c.folder == node or (c.other and c.other.folder == node)}
            for change in self.changes:
                if id(change) in synced:
                    _apply(self.folders, change)
            self.changes = [c for c in self.changes if id(c) not in synced]
        elif step.name == "sync_file_system":
            self._keep_all()

    def _find(self, path: str) -> Node | None:
        node: Node | None = self._top
        inside = os.path.relpath(path, self.root)
        for part in [] if inside == "." else inside.split(os.sep):
            node = self._seen.get(node, {}).get(part) if node else None
        return node

    def synced_lines(self) -> Iterator[dict[str, Any]]:
        """The lines of all journals that were synced, each with its run: those were acted upon."""
        for run, folder in self._seen[self._seen[self._top]["Output"]].items():
            journal = self._seen.get(self._seen.get(folder, {}).get("journal", (0, 0)), {})
            for node in journal.values():
                for line in self.files.get(node, b"").split(b"\n")[:-1]:
                    yield {"run": run, **json.loads(line)}

    # -- what a power cut leaves --------------------------------------------------------------------------

    def states(self, number: int, chance: random.Random) -> Iterator[tuple[list[_Change], dict[Node, bytes]]]:
        """States that a power cut may leave now: the two extremes, one thing lost or kept, and at random."""
        files = list(self.written)
        everything = {node: contents[-1] for node, contents in self.written.items()}
        yield [], {}
        yield list(self.changes), everything
        for single in self.changes:
            yield [c for c in self.changes if c is not single], everything
            yield [c for c in self.changes if c is single or c is single.other], everything
        for node in files:
            yield list(self.changes), {n: c for n, c in everything.items() if n != node}
            yield list(self.changes), {**everything, node: self._some_of(node, chance)}
        for _ in range(number):
            fraction = chance.random()
            changes = [c for c in self.changes if chance.random() < fraction]
            kept = [n for n in files if chance.random() < 0.8]
            yield changes, {n: self._some_of(n, chance) for n in kept}

    def _some_of(self, node: Node, chance: random.Random) -> bytes:
        """A content that a file may have: an older one, or the newest whole, in part, or with zeros."""
        content = chance.choice(self.written[node])
        synced = self.files.get(node, b"")
        sure = len(synced) if content.startswith(synced) else 0
        cut = chance.randint(sure, len(content))
        torn = content[:cut]
        return chance.choice([content, torn, torn + bytes(len(content) - cut)])

    def materialise(self, target: Path, changes: list[_Change], contents: dict[Node, bytes]) -> None:
        """Make a state of the disk a workspace."""
        chosen = {id(c) for c in changes}
        folders = {node: dict(names) for node, names in self.folders.items()}
        for change in self.changes:
            if id(change) in chosen and (change.other is None or id(change.other) in chosen):
                _apply(folders, change)
        made: dict[Node, Path] = {}
        self._write(target, self._top, folders, contents, made)
        self._mend_identities(target, made)

    def _write(
        self,
        path: Path,
        node: Node,
        folders: dict[Node, dict[str, Node]],
        contents: dict[Node, bytes],
        made: dict[Node, Path],
    ) -> None:
        if node in made:
            os.link(made[node], path)
        elif node in self._were_folders:
            path.mkdir()
            for name, child in folders.get(node, {}).items():
                self._write(path / name, child, folders, contents, made)
        elif (content := contents.get(node, self.files.get(node, b""))).startswith(LINK):
            path.symlink_to(os.fsdecode(content.removeprefix(LINK)))
        else:
            path.write_bytes(content)
            os.utime(path, ns=(self.times[node], self.times[node]))
            made[node] = path

    def _mend_identities(self, target: Path, made: dict[Node, Path]) -> None:
        """Have intents name the files as they are now: on the disk of the record they had other numbers."""
        now = {
            (node[0], path.stat().st_mtime_ns): path.stat() for node, path in made.items() if path.exists()
        }
        for intent in (target / "Misc" / "opening").glob("*.json"):
            try:
                entries = json.loads(intent.read_bytes())
            except ValueError:
                continue
            for entry in entries:
                _, inode, size, mtime = entry["identity"]
                found = now.get((inode, mtime))
                if found is not None:
                    entry["identity"] = [found.st_dev, found.st_ino, size, mtime]
            intent.write_text(json.dumps(entries))


def _apply(folders: dict[Node, dict[str, Node]], change: _Change) -> None:
    names = folders.setdefault(change.folder, {})
    if change.target is not None:
        names[change.name] = change.target
    elif names.get(change.name) == change.old:
        del names[change.name]


def followed(root: Path, record: Path, forgets: frozenset[str] = frozenset()) -> Iterator[Disk]:
    """The disk before each of the operations of a record, and after the last."""
    steps = steps_of(record)
    disk = Disk(str(root), forgets)
    disk.begin(steps[0].look)
    for step, after in itertools.pairwise([*steps, None]):
        assert step is not None
        disk.see(step.look)
        yield disk
        disk.make(step)
        if after is None:
            disk.see(look_at(str(root)))
            yield disk
