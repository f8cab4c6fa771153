"""Reading commands neither write nor lock: on a read-only workspace, and by the system calls it makes.

A command says of itself in the table of commands whether it reads. Each that does has its line here, and each
that does not is named as one that changes; so a new command cannot be forgotten.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from job_orchestration.cli.command_table import COMMANDS
from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.workspace.layout import VARIABLE, prepare
from tests.conftest import LIMIT, ROOT, TASKS, run_git

LOOKS = {
    "status": [
        ["status"],
        ["status", "--json"],
        ["status", "d*", "--filter", "mended == '/nowhere'"],
        ["status", "--why"],
    ],
    "progressReport": [["progressReport"]],
    "logs": [["logs", "done"], ["logs", "-f", "failed", "--json"]],
    "show": [["show", "done"], ["show", "waits"], ["show", "bad", "--json"]],
    "results": [
        ["results"],
        ["results", "--json"],
        ["results", "--csv"],
        ["results", "--group-by", "status"],
    ],
    "diff": [["diff", "done", "failed"], ["diff", "done"], ["diff", "done", "failed", "waits", "--json"]],
    "completion": [["completion", "bash"], ["__complete", "zsh", "jo", "show", ""]],
    "wait": [["wait", "done"], ["wait", "done", "--json"]],
    "schema": [["schema"], ["schema", "--workspace-file"]],
    "doctor": [["doctor"], ["doctor", "--json"]],
}
"""Each command that reads, in some of the ways it is called."""
ALSO = [["gc", "--keep", "last:0", "--json"], ["gc", "failed"], ["gc", "--empty-trash", "--older-than", "1s"]]
ALSO += [["gc", "--status", "failed"], ["restore"], ["restore", "--json"], ["notify"], ["notify", "--json"]]
ALSO += [["code", "done", "--file", "Tasks.py"]]
"""How commands that change things are called when they only look."""
CHANGES = {
    "init",
    "ready",
    "check",
    "work",
    "watch",
    "up",
    "retry",
    "rerun",
    "verify",
    "gc",
    "restore",
    "submit",
    "run",
    "config",
    "selftest",
    "serve",
    "geneplexus",
    "notify",
    "bisect",
    "cancel",
    "code",
    "debug",
    "export",
    "import",
    "hold",
    "release",
}

DRIVER = """
import json, sys
from job_orchestration.cli.main import main
for words in json.loads(sys.argv[1]):
    code = main(words)
    if code:
        sys.exit(f"{words} ended with exit code {code}")
"""
FAMILIES = (
    "open,openat,openat2,creat,truncate,rename,link,unlink,mkdir,rmdir,chmod,chown,utime,mknod,flock,lock"
)
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
OWN = "/Misc/.doctor-"
"""The file that doctor writes to see how the disk does."""
NOWHERE = '"/dev/null"'
"""What git opens; the folder that it does so from stands in the same line."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the command line: it names the workspace of this module."""
    root = prepare(str(tmp_path_factory.mktemp("looking") / "workspace")).root
    return {**os.environ, VARIABLE: root, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="module")
def one_of_each(environment: dict[str, str]) -> Path:
    """A workspace with a run or a config in every place without a worker, and one in the trash."""
    workspace = Path(environment[VARIABLE])
    repository = workspace.with_name("repository")
    repository.mkdir()
    (repository / "Tasks.py").write_text(textwrap.dedent(TASKS))
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=tasks"]):
        run_git(repository, *words)

    def drop(name: str, method: str) -> None:
        content = {"pathToTasks": str(repository), "outputDir": name, "mended": "/nowhere", "maxAttempts": 1}
        data = to_yaml({**content, "tasks": [{"id": "a", "method": method}]})
        (workspace / "ConfigSources" / f"{name}.yaml").write_bytes(data)

    def cli(*words: str) -> None:
        command = [sys.executable, "-m", "job_orchestration", *words]
        done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=LIMIT)
        assert done.returncode in {0, 1, 3}, done.stderr

    drop("done", "Quick")
    drop("gone", "Quick")
    drop("failed", "Fails")
    drop("bad", "..")
    cli("ready")
    cli("work", "--until-idle")
    cli("gc", "gone", "--yes")
    drop("waits", "Quick")
    drop("held", "Quick")
    cli("ready")
    cli("hold", "held")
    return workspace


def test_every_command_says_whether_it_reads() -> None:
    assert {a.name for a in COMMANDS if a.reads} == set(LOOKS)
    assert {a.name for a in COMMANDS if not a.reads} == CHANGES


def driven(before: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Every look, one after the other, in one process."""
    looks = [*(words for each in LOOKS.values() for words in each), *ALSO]
    return subprocess.run(
        [*before, sys.executable, "-c", DRIVER, json.dumps(looks)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )


def inside_read_only(folder: Path) -> list[str]:
    """Return the words before a command that make the folder read-only for it."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && ! touch "$0/x" 2>/dev/null'
    inside = ["unshare", "--mount", "--map-root-user", "sh", "-c", f'{mount} && exec "$@"', str(folder)]
    if subprocess.run([*inside, "true"], check=False, capture_output=True, timeout=30).returncode != 0:
        pytest.skip("nothing can be mounted on this machine")
    return inside


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "codes"),
    [
        (["work", "--until-idle"], {4}),
        (["up", "--until-idle"], {4}),
        (["ready"], {4}),
        (["gc", "--keep", "last:0", "--yes"], {3, 4}),
        (["retry"], {3, 4}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_every_changing_command_says_that_nothing_can_be_written(
    one_of_each: Path, environment: dict[str, str], words: list[str], codes: set[int]
) -> None:
    done = subprocess.run(
        [*inside_read_only(one_of_each), sys.executable, "-m", "job_orchestration", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    said = done.stdout + done.stderr
    assert done.returncode in codes, said
    assert "Read-only file system" in said
    assert "Traceback" not in said
    assert "NFS version 4" not in said, "the disk is fine, but for writing"
    assert "nothing that can go" not in said


def test_every_reading_command_works_where_nothing_can_be_written(
    one_of_each: Path, environment: dict[str, str]
) -> None:
    done = driven(inside_read_only(one_of_each), environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing can be written here (Read-only file system)" in done.stdout


def test_no_reading_command_writes_or_locks_by_the_system_calls_it_makes(
    one_of_each: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("there is no strace")
    trace = tmp_path / "trace"
    calls = f"trace=/^({FAMILIES.replace(',', '|')})"
    done = driven(["strace", "-f", "-y", "-s", "4096", "-o", str(trace), "-e", calls], environment)
    if "ptrace" in done.stderr:
        pytest.skip("nothing can be traced on this machine")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in trace.read_text().splitlines() if str(one_of_each) in line]
    assert any("ConfigsToRun" in line for line in lines)
    opened = [line for line in lines if re.search(r"\bopen(at|at2)?\(", line)]
    writing = [line for line in opened if WRITES.search(line)] + [x for x in lines if x not in opened]
    assert any(OWN in line for line in writing)  # what is looked for is found
    assert [line for line in writing if OWN not in line and NOWHERE not in line] == []
