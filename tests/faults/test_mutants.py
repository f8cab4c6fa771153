"""The core, broken on purpose in one place at a time: the quick tests that guard the place must notice.

Each mutant names the tests that are to kill it. The short form only sees that every mutant can still be made.
The long form copies the package and the tests, lets those tests pass once on the copy as it is, and then has
each mutant run its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.figures import figure

TOP = Path(__file__).parent.parent.parent
PACKAGE = "job_orchestration"

CLAIMS = "tests/integration/test_claims.py::"
WORKER = "tests/integration/test_worker.py::"
FORK_SERVERS = "tests/integration/test_fork_server.py::"
ATTEMPTS = "tests/integration/test_attempts.py::"
JOURNAL = "tests/integration/test_journal.py::"
DURABLE = "tests/integration/test_durable.py::"
STORE = "tests/integration/test_store.py::"
OPENING = "tests/integration/test_opening.py::"
RESOURCES = "tests/integration/test_resources.py::"
RULES = "tests/unit/test_lifecycle.py::"
OPERATIONS = "tests/faults/test_durable_operations.py::"
SUPERVISION = "tests/faults/test_supervision.py::"


class Mutant(NamedTuple):
    """One place of the package, and what is put there."""

    what: str
    file: str
    old: str
    new: str
    killers: tuple[str, ...]


MUTANTS = [
    Mutant(
        "the lock is not sent to the host",
        "worker/claimed_run.py",
        "(claim.descriptor, claim.journal.descriptor)",
        "(os.open(claim.path, os.O_RDWR), claim.journal.descriptor)",
        ("tests/faults/test_kill_storm.py::test_a_run_is_not_taken_over_while_its_child_lives",),
    ),
    Mutant(
        "the inode is not looked at after the rename",
        "runs/claims.py",
        '    if not still_ours(target, descriptor):\n        raise ClaimLostError("Another',
        '    if False:\n        raise ClaimLostError("Another',
        (f"{CLAIMS}test_a_token_whose_name_another_file_takes_in_the_middle_is_left_alone",),
    ),
    Mutant(
        "no generation in the name",
        "runs/claims.py",
        "str(TokenName(token.name.stem, attempt, worker))",
        "str(TokenName(token.name.stem, 1, worker))",
        (f"{CLAIMS}test_a_claimed_run_cannot_be_claimed_until_it_is_released",),
    ),
    Mutant(
        "the number in the name does not count",
        "runs/claims.py",
        "_new_attempt(folder, max(token.name.generation, *written))",
        "_new_attempt(folder, max(written))",
        (f"{CLAIMS}test_an_attempts_number_is_one_more_than_any_that_was_ever_used",),
    ),
    Mutant(
        "a lock that is leaked when the claim fails",
        "runs/claims.py",
        "        os.close(descriptor)  # no other process shares it yet, so closing unlocks it\n",
        "",
        (f"{CLAIMS}test_a_claim_that_the_disk_refuses_locks_nothing_and_can_be_made_later",),
    ),
    Mutant(
        "a lock that is closed and not unlocked",
        "runs/claims.py",
        "            fcntl.flock(self.descriptor, fcntl.LOCK_UN)\n",
        "            pass\n",
        (f"{CLAIMS}test_a_released_claim_frees_the_run_although_a_process_shares_its_descriptor",),
    ),
    Mutant(
        "a copy of a running token is claimed as well",
        "runs/claims.py",
        "        if not _is_inode(path, status) and run_of(path) == run:\n",
        "        if False:\n",
        (f"{CLAIMS}test_a_copy_of_a_token_is_no_second_lock_on_its_run",),
    ),
    Mutant(
        "the checkpoint before the outputs are in place",
        "executor/task_runner.py",
        "            folder, outputs = context.store.commit()\n",
        "            self.write(TaskFinished(task.id, 0.0, value), sync=True)\n"
        "            folder, outputs = context.store.commit()\n",
        (f"{OPERATIONS}test_every_durable_operation_is_known",),
    ),
    Mutant(
        "the checkpoint is not synced",
        "executor/task_runner.py",
        "self.write(finished, sync=True)",
        "self.write(finished)",
        (f"{OPERATIONS}test_every_durable_operation_is_known",),
    ),
    Mutant(
        "the fence before the checkpoint is lost",
        "executor/task_runner.py",
        "        if not still_ours(self.token, self.lock):\n",
        "        if False:\n",
        (f"{SUPERVISION}test_a_task_whose_run_was_taken_away_leaves_no_checkpoint",),
    ),
    Mutant(
        "copy and unlink instead of link",
        "workspace/durable.py",
        "        link(source, target)\n    except",
        '        write_new(target, open(source, "rb").read())\n    except',
        (f"{DURABLE}test_a_write_makes_exactly_the_operations_that_the_fault_tests_know",),
    ),
    Mutant(
        "a final move that replaces what is there",
        "workspace/durable.py",
        "        link(source, target)\n    except",
        "        rename(source, target)\n        link(target, source)\n    except",
        (f"{DURABLE}test_a_move_never_replaces_another_file_and_can_be_done_again",),
    ),
    Mutant(
        "the parent of a new folder is not synced",
        "workspace/durable.py",
        '    sync_folder(parent or ".")\n',
        "",
        (f"{DURABLE}test_a_write_makes_exactly_the_operations_that_the_fault_tests_know",),
    ),
    Mutant(
        "a new file's name before its content",
        "workspace/durable.py",
        "        if synced:\n            sync(descriptor, path)\n",
        "",
        (f"{DURABLE}test_content_reaches_the_disk_before_its_name_and_the_name_before_the_next_step",),
    ),
    Mutant(
        "many openings before they are on the disk",
        "workspace/group_sync.py",
        "            durable.sync_file_system(self._descriptor, self._folder)\n",
        "            pass\n",
        (f"{OPENING}test_many_openings_wait_for_the_disk_together",),
    ),
    Mutant(
        "an account that somebody has cleared away",
        "queue/resource_pool.py",
        "            if _is_folder(folder, descriptor):",
        "            if True:",
        (f"{RESOURCES}test_a_pool_folder_that_is_removed_while_a_worker_waits_for_its_lock_is_made_again",),
    ),
    Mutant(
        "what a task saved is not synced",
        "runs/artifact_store.py",
        "        durable.sync_tree(self._staging)\n",
        "",
        (f"{STORE}test_every_file_is_on_the_disk_before_the_folder_has_its_name",),
    ),
    Mutant(
        "an output folder that was there is replaced",
        "runs/artifact_store.py",
        "        name, number = self._task, 1\n",
        "        name, number = self._task, 1\n"
        "        shutil.rmtree(os.path.join(self._run_folder, name), ignore_errors=True)\n",
        (f"{STORE}test_a_folder_of_that_name_is_never_replaced",),
    ),
    Mutant(
        "the events of a stale attempt count",
        "runs/lifecycle.py",
        "valid = {n: journal[n][:count] for",
        "valid = {n: journal[n] for",
        (f"{RULES}test_what_a_stale_attempt_writes_after_the_next_has_begun_is_void",),
    ),
    Mutant(
        "an interruption is a failed try",
        "runs/events.py",
        "return self not in {Outcome.OK, Outcome.INTERRUPTED, *INTENDED}",
        "return self not in {Outcome.OK, *INTENDED}",
        (f"{SUPERVISION}test_a_task_that_sees_the_stop_ends_its_own_way_and_another_worker_goes_on",),
    ),
    Mutant(
        "half a line is not ended",
        "runs/journal.py",
        "        if torn:\n",
        "        if False:\n",
        (f"{JOURNAL}test_half_a_line_is_no_event_and_is_ended_before_the_next",),
    ),
    Mutant(
        "the host does not sweep",
        "executor/fork_server.py",
        "        left = reaper.kill_descendants(self.spare)\n",
        "        left = 0\n",
        (f"{ATTEMPTS}test_what_a_task_leaves_behind_neither_holds_its_run_nor_outlives_it",),
    ),
    Mutant(
        "the next holder does not sweep",
        "worker/claimed_run.py",
        "        if claim.attempt > 1:\n",
        "        if False:\n",
        (f"{WORKER}test_processes_that_a_run_left_behind_are_killed_whichever_process_died",),
    ),
    Mutant(
        "the forks of a task keep its lock",
        "processes/reaper.py",
        "            os.close(descriptor)\n\n\ndef kill_descendants",
        "            pass\n\n\ndef kill_descendants",
        (f"{WORKER}test_a_fork_that_outlived_everybody_is_ended_by_the_next_holder",),
    ),
    Mutant(
        "received descriptors are inherited by programs",
        "executor/messages.py",
        "end.recvmsg(_PACKET, space, _CLOEXEC)",
        "end.recvmsg(_PACKET, space, 0)",
        (f"{FORK_SERVERS}test_received_descriptors_are_closed_on_exec",),
    ),
    Mutant(
        "Running is not tried",
        "queue/queue.py",
        "        if now >= self._running_at:\n",
        "        if False:\n",
        (f"{WORKER}test_a_run_whose_worker_and_child_died_goes_on_from_its_checkpoint",),
    ),
    Mutant(
        "a run continues in the code that it was queued with",
        "runs/lifecycle.py",
        "            code=event.code or state.code,\n",
        "            code=state.code,\n",
        (
            "tests/unit/test_steering.py::test_a_requeued_event_with_code_counts_for_the_tasks_without_a_checkpoint",
        ),
    ),
    Mutant(
        "a run that changed since it was checked is queued",
        "commands/retry.py",
        "if (event.code or event.parameters) and not _is_as_checked(record.state, claim):",
        "if False:",
        (
            "tests/integration/test_steering.py::test_a_run_that_has_changed_since_it_was_checked_is_left_alone",
        ),
    ),
    Mutant(
        "a worker does not complete the provenance of a run that continues in other code",
        "worker/claimed_run.py",
        "            provenance_file.note_changes(claim.run_folder, claim.state)\n",
        "",
        (f"{OPERATIONS}test_no_fault_at_any_operation_loses_doubles_or_blocks_a_run[retry-in-mended-code]",),
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.what.replace(" ", "_"))
def test_every_mutant_can_still_be_made_and_has_its_tests(mutant):
    text = (TOP / PACKAGE / mutant.file).read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file} has changed: let the mutant follow"
    assert mutant.new != mutant.old
    for killer in mutant.killers:
        file, _, name = killer.partition("::")
        assert f"def {name.partition('[')[0]}(" in (TOP / file).read_text(), f"{killer} is gone: name another"


# -- the long form -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package, its template and its tests; all killers pass there and use that package."""
    folder = tmp_path_factory.mktemp("mutants") / "copy"
    for part in (PACKAGE, "tests", "workspace_template"):
        shutil.copytree(TOP / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TOP / "pyproject.toml", folder)
    printed = subprocess.run(
        [sys.executable, "-c", f"import {PACKAGE}; print({PACKAGE}.__file__)"],
        cwd=folder.parent,  # not in the copy: it is to be found by its environment alone
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert printed.stdout.startswith(str(folder)), printed.stdout
    killers = sorted({killer for mutant in MUTANTS for killer in mutant.killers})
    code, said = run(folder, killers, limit=900)
    assert code == 0, f"the tests fail without any mutant:\n{said}"
    return folder


def environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k != "SOAK_FIGURES"}
    return {**kept, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def run(folder: Path, killers, limit: float) -> tuple[int, str]:
    """Run tests of a copy until one fails; returns pytest's exit code, 1 also for a test that hung."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "--no-header",
        "--tb=line",
    ]
    try:
        done = subprocess.run(
            [*command, f"--basetemp={folder.parent / 'temporary'}", *killers],
            cwd=folder,
            env=environment(folder),
            check=False,
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return 1, "it hung"
    return done.returncode, done.stdout[-3000:]


@pytest.mark.soak
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.what.replace(" ", "_"))
def test_every_mutant_is_caught(copy, mutant):
    path = copy / PACKAGE / mutant.file
    text = path.read_text()
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        code, said = run(copy, mutant.killers, limit=400)
    finally:
        path.write_text(text)
    figure("F8", mutant.what, {0: "SURVIVED", 1: "caught"}.get(code, f"exit code {code}"))
    assert code == 1, said
