"""Tasks that import PyTorch do what their scripts do; skipped where it is not installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration.harness import LIMIT, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="forks are the default on Linux alone"),
]

TASKS = """
    import os

    import torch
    from torch.utils.data import DataLoader, Dataset

    from job_orchestration import TaskBase

    AT_IMPORT = os.getpid()
    UNSEEDED = torch.Generator()
    UNSEEDED.seed()
    SEEDED = torch.Generator().manual_seed(7)
    AS_MADE = torch.Generator()


    class Numbers(Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, index):
            return torch.tensor([float(index)]), os.getpid()


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config


    class Draws(Base):
        def run(self):
            assert AT_IMPORT != os.getpid() and AT_IMPORT == os.getppid(), "not forked"
            generators = {"unseeded": UNSEEDED, "seeded": SEEDED, "made": AS_MADE, "global": None}
            return {n: torch.rand(2, generator=g).tolist() for n, g in generators.items()}


    class Counts(Base):
        def run(self):
            a = torch.rand(700, 700)
            for _ in range(5):
                a = torch.nn.functional.normalize(a @ a)
            return {"threads": torch.get_num_threads(), "of_process": len(os.listdir("/proc/self/task"))}


    class Sets(Base):
        def run(self):
            torch.set_default_dtype(torch.float64)
            torch.set_default_device("meta")
            torch.set_grad_enabled(False)
            torch.use_deterministic_algorithms(True)
            torch.set_num_threads(1)
            return str(torch.zeros(1).dtype)


    class Sees(Base):
        def run(self):
            found = torch.zeros(1)
            grad, strict = torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled()
            return [str(found.dtype), found.device.type, grad, strict, torch.get_num_threads()]


    class Loads(Base):
        def run(self):
            total, pids = 0.0, set()
            loader = DataLoader(Numbers(), batch_size=4, num_workers=2, persistent_workers=True, shuffle=True)
            for _ in range(2):
                for values, workers in loader:
                    total += float(values.sum())
                    pids |= set(workers.tolist())
            return [total, len(pids), os.getpid() in pids]


    class Trains(Base):
        def run(self):
            model = torch.nn.Linear(4, 1)
            optimizer = torch.optim.Adam(model.parameters())
            x = torch.rand(64, 4)
            for _ in range(20):
                optimizer.zero_grad()
                loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
                loss.backward()
                optimizer.step()
            torch.save(model.state_dict(), os.path.join(self.config["outputDir"], "own.pt"))
            torch.save(model.state_dict(), "relative.pt")
            torch.save(model.state_dict(), self.context.store.path("stored.pt"))
            return {"loss": loss.item()}
"""
SCRIPT = """
import os, torch
for _ in range(5):
    a = torch.rand(700, 700)
    a @ a
print(torch.get_num_threads())
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Two runs of all tasks in one worker, and what it said."""
    sandbox = Sandbox(tmp_path_factory.mktemp("torch"), TASKS)
    for number in range(2):
        sandbox.queue(
            f"run{number}", "Draws", "Counts", "Sets", "Sees", "Loads", "Trains", maxAttempts=1, seed=number
        )
    said = sandbox.work()
    yield sandbox, said
    sandbox.close()


def test_its_import_keeps_the_fork_and_its_threads_are_those_of_a_script(played):
    sandbox, said = played
    assert "threads behind" not in said
    script = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=LIMIT, check=True
    )
    for number in range(2):
        assert sandbox.results(f"run{number}")["counts"]["threads"] == int(script.stdout), said


def test_generators_without_a_seed_are_those_of_the_run(played):
    sandbox, _ = played
    one, two = (sandbox.results(f"run{number}")["draws"] for number in range(2))
    assert one["unseeded"] != two["unseeded"]
    assert one["global"] != two["global"]
    assert one["seeded"] == two["seeded"]
    assert one["made"] == two["made"], "as in a script: PyTorch gives it a fixed seed"


def test_what_a_task_sets_does_not_reach_the_next(played):
    sandbox, _ = played
    found = sandbox.results("run0")
    assert found["sets"] == "torch.float64"
    assert found["sees"] == ["torch.float32", "cpu", True, False, found["counts"]["threads"]]


def test_the_workers_of_a_data_loader_work_and_end(played):
    sandbox, _ = played
    for number in range(2):
        assert sandbox.results(f"run{number}")["loads"] == [2.0 * sum(range(40)), 2, False]
    assert sandbox.alive() == []


def test_saved_models_lie_where_they_were_saved(played):
    import torch

    sandbox, _ = played
    assert sandbox.names("Completed") == ["run0", "run1"]
    for number in range(2):
        folder: Path = sandbox.output(f"run{number}")
        found = [torch.load(path, weights_only=True) for path in sorted(folder.rglob("*.pt"))]
        assert len(found) == 3, json.dumps([str(p) for p in folder.rglob("*")])
        assert all(torch.equal(found[0]["weight"], other["weight"]) for other in found)
