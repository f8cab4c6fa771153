"""The ways in which a run's life touches the disk, each as a few commands that may meet a fault on the way.

Each names how many durable operations it makes. Who adds one has to say so here, and by that has it failed
in every way at its place.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from job_orchestration.runs import opening
from job_orchestration.workspace import layout
from tests.faults import injection, promises
from tests.faults.command_processes import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.faults.command_processes import Ended, Stage

WORK = ("work", "--until-idle")
RUN = 'tasks: [{id: save, method: "fault_tasks:Save"}, {id: use, method: "fault_tasks:Use"}]\n'


PINNED = "/Misc/[^o]"
"""Where commits are kept; ``opening`` is another's."""
GROUP = tuple(f"r{number}" for number in range(opening.MANY))
"""As many runs as are made durable by one call."""
STORE = "/code.git"
"""A repository; how many files and folders it has is for git to say."""


@dataclass(frozen=True)
class Scenario:
    """What is done, and how it is to end whatever happens on the way."""

    name: str
    prepare: Callable[[Stage], None]
    acts: tuple[tuple[str, ...], ...]
    operations: Mapping[str, int]
    """How often each durable operation is made when all goes well."""
    ends: Mapping[str, str] = field(default_factory=lambda: {"a": "Completed"})
    check: Callable[[Stage], list[str]] = lambda _: []
    """What is to be asked besides."""
    fails: bool = False
    """Whether tasks are meant to fail, so that failures in the journal are no findings."""
    new: str = "/"
    """A pattern of the paths that no other scenario has; only operations on them meet faults."""


def git(folder: Path, *arguments: str) -> None:
    """Run a git command in a repository."""
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, timeout=60)


def fresh(stage: Stage) -> None:
    """An empty workspace."""
    shutil.rmtree(stage.workspace, ignore_errors=True)
    for left in stage.folder.glob("mended"):
        left.unlink()
    layout.prepare(str(stage.workspace))


def drop(stage: Stage, name: str, text: str = RUN) -> None:
    """Put a config into ConfigSources; its run has its name."""
    path = stage.workspace / "ConfigSources" / f"{name}.yaml"
    path.write_text(f"outputDir: {name}\n{text}")


def dropped(stage: Stage) -> None:
    """One config, with the problems of an earlier one of its name."""
    fresh(stage)
    drop(stage, "a")
    (stage.workspace / "ConfigSources" / "a.yaml.problems.txt").write_text("mended since\n")


def many_dropped(stage: Stage) -> None:
    """As many configs as are opened together."""
    fresh(stage)
    for name in GROUP:
        drop(stage, name)


def _failing(stage: Stage) -> str:
    path = stage.folder / "mended"
    return f'maxAttempts: 2\nmended: "{path}"\n' + RUN.replace(":Use", ":Fails")


def made_once(stage: Stage, text: str, *acts: tuple[str, ...]) -> None:
    """A workspace after some commands about one config; made by them once, and copied from then on."""
    kept = stage.folder / f"kept-{hashlib.sha256(repr((text, acts)).encode()).hexdigest()[:8]}"
    fresh(stage)
    if kept.exists():
        shutil.rmtree(stage.workspace)
        shutil.copytree(kept, stage.workspace)
        return
    drop(stage, "a", text)
    for act in acts:
        ended = stage.act(*act)
        assert ended.code in {0, 1}, ended
    shutil.copytree(stage.workspace, kept)


def _to_fail(stage: Stage) -> None:
    made_once(stage, _failing(stage), ("ready",))


def _failed_and_mended(stage: Stage) -> None:
    made_once(stage, _failing(stage), ("ready",), WORK)
    (stage.folder / "mended").touch()


def to_be_handed_back(stage: Stage) -> None:
    made_once(stage, RUN.replace(":Save", ":Stops").replace(":Use", ":Save"), ("ready",))


def done_before(stage: Stage) -> None:
    made_once(stage, RUN, ("ready",), WORK)
    drop(stage, "a", f"overwriteOutputFine: true\n{RUN}")


def old_run_in_trash(stage: Stage) -> list[str]:
    """The overwritten run must be in the trash, whole, with its token; not twice, and not in pieces."""
    trash = stage.workspace / "Misc" / "trash"
    runs = [p for p in trash.glob("*/a") if len(promises.finished(p)) == 2]
    tokens = {p.stat().st_ino for p in trash.glob("*/a.yaml")}
    return [] if len(runs) == len(tokens) == 1 else [f"in the trash: {sorted(trash.glob('*/*'))}"]


def _cut_short(stage: Stage, words: tuple[str, ...], name: str, path: str) -> None:
    """Have a command die just before the operation of a name whose path holds a text.

    The number of that operation is known from a first go at the same thing, which is undone.
    """
    known = stage.folder / f"number-{name}"
    if not known.exists():
        copy = stage.folder / "untouched"
        shutil.copytree(stage.workspace, copy)
        injection.plan(stage.faults)
        _expect(stage.act(*words, faulty=True), 0)
        number = next(m.number for m in injection.made(stage.faults) if m.name == name and path in m.path)
        known.write_text(str(number))
        shutil.rmtree(stage.workspace)
        copy.rename(stage.workspace)
    injection.plan(stage.faults, int(known.read_text()), "before")
    _expect(stage.act(*words, faulty=True), -signal.SIGKILL)
    injection.plan(stage.faults)


def _half_opened(stage: Stage) -> None:
    """Two drops, of which one was linked into ConfigsToRun when `ready` died."""
    fresh(stage)
    drop(stage, "a")
    drop(stage, "b")
    _cut_short(stage, ("ready",), "link", "/ConfigsToRun/b.yaml")
    assert promises.tokens(stage.workspace) == {
        "a": ["ConfigSources", "ConfigsToRun"],
        "b": ["ConfigSources"],
    }


def _half_moved(stage: Stage) -> None:
    """A run that was linked into Completed when its worker died, and is still in Running too."""
    fresh(stage)
    drop(stage, "a")
    _expect(stage.act("ready"), 0)
    _cut_short(stage, WORK, "unlink", "/Running/a~g000001")
    assert promises.tokens(stage.workspace) == {"a": ["Running", "Completed"]}


def to_be_pinned(stage: Stage) -> None:
    """A drop whose tasks lie in a repository that this workspace has not seen yet."""
    repository = stage.folder / "repository"
    if not repository.exists():
        repository.mkdir()
        (repository / "Tasks.py").write_text(TASKS)
        git(repository, "init", "--quiet", "--initial-branch=main")
        git(repository, "add", ".")
        git(repository, "commit", "--quiet", "--message=tasks")
    fresh(stage)
    drop(stage, "a", f"pathToTasks: {repository}\n" + RUN.replace("fault_tasks:", ""))


def to_be_pinned_with_more(stage: Stage) -> None:
    """The same, in a repository with a submodule and a file in Git LFS, whose content is in the work tree."""
    to_be_pinned(stage)
    repository, lib = stage.folder / "repository", stage.folder / "lib"
    if lib.exists():
        return
    lib.mkdir()
    (lib / "lib.py").write_text("NAME = 'lib'\n")
    git(lib, "init", "--quiet", "--initial-branch=main")
    git(lib, "add", ".")
    git(lib, "commit", "--quiet", "--message=lib")
    content = b"weights " * 1000
    digest = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
    (repository / ".gitattributes").write_text("*.bin filter=lfs -text\n")
    (repository / "data.bin").write_text(pointer)
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(lib), "lib")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message=more")
    (repository / "data.bin").write_bytes(content)


def snapshot_is_whole(stage: Stage) -> list[str]:
    """A snapshot has the submodule's file and the content of the large one."""
    snapshots = list((stage.workspace / "Misc" / "snapshots").iterdir())
    whole = [
        s for s in snapshots if (s / "lib" / "lib.py").exists() and (s / "data.bin").stat().st_size == 8000
    ]
    return [] if len(snapshots) == 1 and whole == snapshots else ["the snapshot is not whole"]


BUG = """

class Mended(Base):
    def run(self):
        raise ValueError("as the test asked")
"""
"""What the second commit of `_failed_and_committed` mends."""


def _failed_and_committed(stage: Stage) -> None:
    """A run that failed in its second task, whose repository has a newer commit, which mends that task."""
    repository = stage.folder / "mending"
    is_new = not repository.exists()
    if is_new:
        repository.mkdir()
        (repository / "Tasks.py").write_text(TASKS + BUG)
        git(repository, "init", "--quiet", "--initial-branch=main")
        git(repository, "add", ".")
        git(repository, "commit", "--quiet", "--message=tasks")
    text = f"pathToTasks: {repository}\nmaxAttempts: 1\n" + RUN.replace("fault_tasks:", "")
    made_once(stage, text.replace("Use", "Mended"), ("ready",), WORK)
    if is_new:
        mended = BUG.replace('raise ValueError("as the test asked")', 'return {"nonce": "mended"}')
        (repository / "Tasks.py").write_text(TASKS + mended)
        git(repository, "commit", "--quiet", "--all", "--message=mended")


def continued_in_mended_code(stage: Stage) -> list[str]:
    """Each task must have run in its own commit, as the provenance says; nothing half-made is left."""
    folder = stage.workspace / "Output" / "a"
    events = promises.raw(folder)
    commits = {e["task"]: e["commit"] for e in events if e["event"] == "task_finished"}
    queued = next(e["code"]["commit"] for e in events if e["event"] == "readied")
    head = (stage.folder / "mending" / ".git" / "refs" / "heads" / "main").read_text().strip()
    found = [] if commits == {"save": queued, "use": head} and queued != head else [f"ran in {commits}"]
    said = json.loads((folder / "provenance.json").read_bytes()).get("task_commits")
    found += [] if said == commits else [f"the provenance says {said}, and the journal {commits}"]
    return found + [f"{path} is left over" for path in folder.glob("provenance.json.*")]


def _nothing(stage: Stage) -> None:
    shutil.rmtree(stage.workspace, ignore_errors=True)
    stage.workspace.mkdir()


def _expect(ended: Ended, code: int) -> None:
    assert ended.code == code, ended


SCENARIOS = (
    Scenario(
        "life",
        dropped,
        (("ready",), WORK),
        {
            "append": 13,
            "create": 8,
            "fsync": 12,
            "fsync_folder": 18,
            "link": 2,
            "mkdir": 2,
            "rename": 5,
            "unlink": 5,
        },
    ),
    Scenario(
        "giving up",
        _to_fail,
        (WORK,),
        {
            "append": 9,
            "create": 2,
            "fsync": 5,
            "fsync_folder": 10,
            "link": 1,
            "mkdir": 1,
            "rename": 3,
            "unlink": 1,
        },
        {"a": "Failed"},
        fails=True,
    ),
    Scenario(
        "retry",
        _failed_and_mended,
        (("retry", "a"),),
        {"append": 2, "create": 1, "fsync": 2, "fsync_folder": 4, "link": 1, "rename": 1, "unlink": 1},
        fails=True,
    ),
    Scenario(
        "retry in mended code",
        _failed_and_committed,
        (("retry", "a", "--commit", "HEAD"),),
        {"append": 4, "create": 3, "fsync": 5, "fsync_folder": 8, "link": 1, "rename": 3, "unlink": 1},
        check=continued_in_mended_code,
        fails=True,
        new="/(Output|Failed|Running|ConfigsToRun)",
    ),
    Scenario(
        "handing back",
        to_be_handed_back,
        (WORK,),
        {
            "append": 5,
            "create": 2,
            "fsync": 3,
            "fsync_folder": 6,
            "link": 1,
            "mkdir": 1,
            "rename": 2,
            "unlink": 1,
        },
    ),
    Scenario(
        "overwriting",
        done_before,
        (("ready",),),
        {
            "append": 5,
            "create": 5,
            "fsync": 5,
            "fsync_folder": 12,
            "link": 2,
            "mkdir": 2,
            "rename": 2,
            "unlink": 5,
        },
        check=old_run_in_trash,
    ),
    Scenario(
        "recovering an opening",
        _half_opened,
        (("ready",),),
        {"append": 5, "create": 5, "fsync": 5, "fsync_folder": 10, "link": 1, "rename": 2, "unlink": 11},
        {"a": "Completed", "b": "Completed"},
    ),
    Scenario(
        "opening many together",
        many_dropped,
        (("ready",),),
        {
            "append": 2 + 4 * len(GROUP),
            "create": 2 + 4 * len(GROUP),
            "fsync": 2,
            "fsync_folder": 5,
            "link": len(GROUP),
            "mkdir": 1,
            "rename": 1 + len(GROUP),
            "sync_file_system": 1,
            "unlink": 1 + 3 * len(GROUP),
        },
        dict.fromkeys(GROUP, "Completed"),
        new="/Output$",
    ),
    Scenario(
        "pinning",
        to_be_pinned,
        (("ready",),),
        {
            "append": 7,
            "create": 7,
            "fsync": 8,
            "fsync_folder": 14,
            "link": 1,
            "mkdir": 2,
            "rename": 3,
            "unlink": 4,
        },
        new=PINNED,
    ),
    Scenario(
        "pinning a submodule and a large file",
        to_be_pinned_with_more,
        (("ready",),),
        {
            "append": 9,
            "create": 9,
            "fsync": 15,
            "fsync_folder": 15,
            "link": 1,
            "mkdir": 2,
            "rename": 3,
            "unlink": 4,
        },
        check=snapshot_is_whole,
        new=PINNED,
    ),
    Scenario("recovering a move", _half_moved, (WORK,), {"fsync_folder": 1, "unlink": 1}),
    Scenario(
        "making a workspace",
        _nothing,
        (("init",),),
        {"append": 1, "create": 1, "fsync": 1, "fsync_folder": 11, "mkdir": 10, "rename": 1},
    ),
)


def operations(stage: Stage, scenario: Scenario) -> list[injection.Made]:
    """What a scenario does to the disk when all goes well."""
    scenario.prepare(stage)
    injection.plan(stage.faults)
    for words in scenario.acts:
        stage.act(*words, faulty=True)
    found = injection.made(stage.faults)
    injection.plan(stage.faults)
    return found


def counted(found: list[injection.Made]) -> dict[str, int]:
    """The number of operations by their name, without those whose number git decides."""
    return dict(sorted(Counter(m.name for m in found if STORE not in m.path).items()))


def recover(stage: Stage, scenario: Scenario) -> None:
    """What a person does after a crash: the ordinary commands once more."""
    if scenario.acts[0] == ("init",):
        stage.act("init")
        shutil.rmtree(stage.workspace / "ConfigSources")  # with the examples that are furnished, or not
        (stage.workspace / "ConfigSources").mkdir()
        drop(stage, "a")
    go_on(stage)
    if scenario.acts[0][0] == "retry" and promises.tokens(stage.workspace) == {"a": ["Failed"]}:
        stage.act(*scenario.acts[0])
        _work_off(stage)


def go_on(stage: Stage) -> None:
    """Ready what there is to be readied or settled, and work off what waits."""
    lying = promises.tokens(stage.workspace)
    if any("ConfigSources" in places for places in lying.values()) or _names(
        stage.workspace / "Misc/opening"
    ):
        stage.act("ready")
    _work_off(stage)


def _work_off(stage: Stage) -> None:
    for _ in range(2):  # a task may send the first worker away
        places = {place for found in promises.tokens(stage.workspace).values() for place in found}
        if places & {"ConfigsToRun", "Running"}:
            stage.act(*WORK)


def _names(folder: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return [p.name for p in folder.iterdir()]
    return []


def play(stage: Stage, scenario: Scenario, at: int, kind: str) -> list[str]:
    """Play a scenario with one fault; returns what was promised and does not hold."""
    scenario.prepare(stage)
    injection.plan(stage.faults, at, kind)
    found: list[str] = []
    for words in scenario.acts:
        ended = stage.act(*words, faulty=True)
        if ended.code == -signal.SIGKILL:
            break
        found += _of_act(words, ended)
    if not injection.fired(stage.faults):
        found.append("the fault was not met")
    injection.plan(stage.faults)
    acknowledged = {
        (run, task): result
        for run in scenario.ends
        for task, result in promises.finished(stage.workspace / "Output" / run).items()
        if kind in injection.DEATHS
    }
    if scenario.name == "overwriting":
        acknowledged = {}  # the old run's, perhaps; `check` asks for that
    recover(stage, scenario)
    found += promises.violations(stage.workspace, scenario.ends, acknowledged)
    found += scenario.check(stage)
    found += [f"{path} is left over" for path in (stage.workspace / "Output").glob("**/.partial")]
    if kind in injection.ERRORS and not scenario.fails:
        found += _failures(stage, scenario)
    return found


def _of_act(words: tuple[str, ...], ended: Ended) -> list[str]:
    """A worker never ends because of the disk; other commands say what they met and can be given again."""
    if words[0] == "work":
        return [] if ended.code in {0, 1, 130} else [f"the worker ended with {ended.code}: {ended.said}"]
    if ended.code == 0 or (ended.code == 4 and "The workspace cannot be used" in ended.said):
        return []
    return [f"{words[0]} ended with {ended.code}: {ended.said}"]


def _failures(stage: Stage, scenario: Scenario) -> list[str]:
    return [
        f"{run}: the disk's trouble counts as a failure: {event}"
        for run in scenario.ends
        for event in promises.raw(stage.workspace / "Output" / run)
        if event["event"] in {"task_failed", "gave_up"}
    ]
