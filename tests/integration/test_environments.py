"""Where a run was queued, and where its tasks ran: recorded once for all that is alike."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from job_orchestration.code import installed_packages, machine, provenance
from job_orchestration.commands.show import show
from job_orchestration.runs import environments, journal, lifecycle, provenance_file, stored_lists
from job_orchestration.workspace import layout
from tests.integration.harness import git

if TYPE_CHECKING:
    from job_orchestration.runs.state import RunState
    from tests.integration.harness import Sandbox

TASKS = """
    from job_orchestration import TaskBase


    class Quick(TaskBase):
        def run(self):
            return 1
"""
FIXTURE = Path(__file__).parent.parent / "fixtures/workspace_format_1/workspace"


def state_of(sandbox: Sandbox, run: str) -> RunState:
    return lifecycle.fold(journal.read(sandbox.workspace.run_folder(run)))


def test_packages_and_environment_are_stored_once_and_checked_by_their_names(sandbox: Sandbox) -> None:
    for name in ("a", "b", "c"):
        sandbox.queue(name, "Quick")
    sandbox.work()
    sandbox.queue("d", "Quick")
    sandbox.work()
    (packages,) = (sandbox.root / "Misc/packages").iterdir()
    (environment,) = (sandbox.root / "Misc/environments").iterdir()
    for path in (packages, environment):
        assert stored_lists.digest_of(json.loads(path.read_text())) == path.stem
    for name in ("a", "d"):
        found = provenance_file.read(sandbox.workspace.run_folder(name))
        assert found["packages_digest"] == packages.stem
        assert "packages" not in found
        assert state_of(sandbox, name).environment == environment.stem
        assert state_of(sandbox, name).tasks[0].environment == environment.stem
    shown = show(sandbox.workspace, "a").as_json()
    assert shown["provenance"]["packages"]["pyyaml"] == shown["environment"]["packages"]["pyyaml"]


def test_the_environment_of_a_run_is_that_of_its_worker(sandbox: Sandbox, monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    provenance._environment.cache_clear()  # an earlier test of this process may have had the variable
    sandbox.queue("a", "Quick")
    sandbox.work(OMP_NUM_THREADS="3", TZ="Asia/Tokyo")
    queued = provenance_file.read(sandbox.workspace.run_folder("a"))
    ran = environments.of_run(sandbox.workspace, "a", state_of(sandbox, "a"))
    assert "OMP_NUM_THREADS" not in queued["variables"]
    assert (ran["variables"]["OMP_NUM_THREADS"], ran["variables"]["TZ"]) == ("3", "Asia/Tokyo")
    assert ran["packages"] == environments.packages_of(sandbox.workspace, queued)


def test_a_worker_that_cannot_store_its_environment_works_without(sandbox: Sandbox) -> None:
    sandbox.queue("a", "Quick")
    (sandbox.root / "Misc/environments").write_text("in the way")
    sandbox.work()
    assert state_of(sandbox, "a").environment is None
    assert sandbox.names("Completed") == ["a"]


def test_runs_of_older_releases_have_the_packages_that_they_recorded() -> None:
    workspace = layout.locate(str(FIXTURE))
    state = lifecycle.fold(journal.read(workspace.run_folder("nested/done")))
    inline = provenance_file.read(workspace.run_folder("nested/done"))["packages"]
    found = environments.of_run(workspace, "nested/done", state)
    assert found["packages"] == inline != {}
    assert show(workspace, "nested/done").as_json()["environment"] is None


def test_author_date_and_subject_of_the_commit_are_recorded(sandbox: Sandbox) -> None:
    git(sandbox.repository, "commit", "--quiet", "--allow-empty", "--message=The subject\n\nand more")
    sandbox.queue("a", "Quick")
    found = provenance_file.read(sandbox.workspace.run_folder("a"))
    assert (found["author"], found["subject"]) == ("Test", "The subject")
    assert found["authored_at"].startswith("20")


# -- packages ---------------------------------------------------------------------------------------------


def test_installed_packages_are_those_that_importlib_knows() -> None:
    from importlib import metadata

    expected: dict[str, str] = {}
    for found in metadata.distributions():
        name = installed_packages.normalised(found.metadata["Name"])
        expected.setdefault(name, found.metadata["Version"])
    assert installed_packages.installed()[0] == dict(sorted(expected.items()))


@pytest.fixture
def site(tmp_path: Path, monkeypatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])
    return folder


def install(site: Path, name: str, version: str, url: str | None = None) -> None:
    about = site / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n\nName: other\n")
    if url:
        text = {"url": url, "dir_info": {"editable": True}}
        (about / "direct_url.json").write_text(json.dumps(text))


@pytest.mark.parametrize("kind", ["loose", "packed", "detached", "work tree"])
def test_editable_packages_have_the_commit_that_is_checked_out(site: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "my lib"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "commit", "--quiet", "--allow-empty", "--message=x")
    commit = git(folder, "rev-parse", "HEAD")
    if kind == "packed":
        git(folder, "pack-refs", "--all")
    if kind == "detached":
        git(folder, "checkout", "--quiet", "--detach")
    if kind == "work tree":
        git(folder, "worktree", "add", "--quiet", str(tmp_path / "other"))
        folder = tmp_path / "other"
    (folder / "src").mkdir()
    install(site, "My.Lib", "1.0", f"file://{folder}/src".replace(" ", "%20"))
    install(site, "plain", "2")
    packages, editable = installed_packages.installed()
    assert packages == {"my-lib": "1.0", "plain": "2"}
    assert editable == {"my-lib": {"folder": f"{folder}/src", "commit": commit}}


def test_a_hostile_repository_of_an_editable_package_is_not_waited_for(site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    (folder / ".git").mkdir(parents=True)
    os.mkfifo(folder / ".git/HEAD")
    install(site, "lib", "1", f"file://{folder}")
    began = time.monotonic()
    assert installed_packages.installed()[1]["lib"]["commit"] is None
    (folder / ".git/HEAD").unlink()
    (folder / ".git/HEAD").write_text("ref: ../../../etc/passwd\n")
    assert installed_packages.installed()[1]["lib"]["commit"] is None
    (folder / ".git/HEAD").write_text("ref: refs/heads/a\n")
    (folder / ".git/refs/heads").mkdir(parents=True)
    (folder / ".git/refs/heads/a").symlink_to("/dev/zero")
    assert installed_packages.installed()[1]["lib"]["commit"] is None
    assert time.monotonic() - began < 5


def test_half_removed_packages_and_odd_files_are_passed_over(site: Path) -> None:
    (site / "gone-1.dist-info").mkdir()
    install(site, "broken", "1", "file://")
    (site / "broken-1.dist-info/direct_url.json").write_text("[1")
    (site / "old-1.egg-info").write_text("Name: old\nVersion: 1\n")
    assert installed_packages.installed() == ({"broken": "1", "old": "1"}, {})


# -- machine ----------------------------------------------------------------------------------------------


def test_the_machine_is_described() -> None:
    found = machine.described()
    assert found["memory_bytes"] > 10**8
    assert found["cpu"] is None or found["cpu"].strip()


def test_gpus_are_those_that_the_kernel_lists(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(machine, "NVIDIA", str(tmp_path))
    assert machine.gpus() == ()
    (tmp_path / "gpus/0000:01:00.0").mkdir(parents=True)
    (tmp_path / "gpus/0000:01:00.0/information").write_text("Model: \t\t NVIDIA A100\nIRQ: 5\n")
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue\n")
    assert machine.gpus() == ({"model": "NVIDIA A100", "driver": "535.54.03"},)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'NVIDIA A100, 535.1'", ({"model": "NVIDIA A100", "driver": "535.1"},)),
        ("exit 9", ()),
        ("sleep 1000 & sleep 1000", ()),
    ],
)
def test_an_nvidia_smi_that_hangs_is_ended(
    tmp_path: Path, monkeypatch, script: str, expected: object
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(machine, "NVIDIA", str(tmp_path / "none"))
    if "sleep" in script:
        monkeypatch.setattr(machine, "SMI_LIMIT", 0.3)
    assert machine.gpus() == expected


def test_variables_that_matter_are_recorded_without_secrets() -> None:
    given = {
        "OMP_NUM_THREADS": "4",
        "CUDA_VISIBLE_DEVICES": "0",
        "PYTHONHASHSEED": "0",
        "LC_ALL": "C",
        "TZ": "UTC",
        "CUDA_API_KEY": "q7Zr81kkP0x",
        "PYTHONPATH": "https://u:hunter2222@x.org",
        "HOME": "/home/you",
        "PYTHONUNBUFFERED": "1",
    }
    assert provenance.variables(given) == {
        "CUDA_API_KEY": "****",
        "CUDA_VISIBLE_DEVICES": "0",
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "4",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": "https://****@x.org",
        "TZ": "UTC",
    }
