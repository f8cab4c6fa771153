"""Random generators at the top of Tasks.py follow the seed of the run, and runs do not share them."""

from __future__ import annotations

import random

import pytest

from tests.integration.harness import Sandbox

numpy = pytest.importorskip("numpy")

TASKS = """
    import os
    import random
    import signal
    from pathlib import Path

    import numpy as np

    from job_orchestration import TaskBase

    RNG = random.Random()
    SEEDED = random.Random(3)
    SYSTEM = random.SystemRandom()


    class Held:
        generator = np.random.default_rng()
        seeded = np.random.default_rng(5)
        legacy = np.random.RandomState()
        legacy_seeded = np.random.RandomState(7)
        listed = [np.random.default_rng(np.random.SeedSequence())]
        bits = np.random.PCG64DXSM()


    class Draws(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            return {
                "unseeded": [
                    RNG.random(),
                    Held.generator.random(),
                    Held.legacy.random_sample(),
                    Held.listed[0].random(),
                    np.random.Generator(Held.bits).random(),
                ],
                "seeded": [SEEDED.random(), Held.seeded.random(), Held.legacy_seeded.random_sample()],
                "system": SYSTEM.random(),
            }


    class Fails(Draws):
        def run(self):
            RNG.random(), Held.generator.random()
            note = Path(self.config["notes"], "killed")
            if not note.exists():
                note.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().run()
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    sandbox = Sandbox(tmp_path_factory.mktemp("generators"), TASKS)
    for name in ("one", "two"):
        sandbox.drop(name, "Draws")
    for name in ("five", "again"):
        sandbox.drop(name, "Draws", seed=5)
    sandbox.drop("spawned", "Draws", seed=5, isolation="spawn")
    sandbox.drop("second", "Draws", "Fails", seed=5)
    assert not sandbox.ready().refused
    sandbox.work()
    yield sandbox
    sandbox.close()


def drawn(sandbox, run: str, kind: str = "unseeded", task: str = "draws"):
    return sandbox.results(run)[task][kind]


def test_two_runs_of_one_worker_draw_different_numbers(sandbox):
    one, two = drawn(sandbox, "one"), drawn(sandbox, "two")
    assert not set(one) & set(two)
    assert len(set(one)) == len(one), "each generator has numbers of its own"


@pytest.mark.parametrize("run", ["again", "spawned"])
def test_runs_of_one_seed_draw_the_same_numbers(sandbox, run):
    assert drawn(sandbox, run) == drawn(sandbox, "five")


def test_a_later_task_and_a_later_try_begin_alike(sandbox):
    """The second task was killed in its first try, after it had drawn some numbers."""
    first = drawn(sandbox, "five")
    later = drawn(sandbox, "second", task="fails")
    assert later[2:] == first[2:]
    rng = random.Random("5:0")
    assert [rng.random(), rng.random()] == [first[0], later[0]]


@pytest.mark.parametrize("run", ["one", "two", "five", "spawned"])
def test_generators_with_a_seed_are_those_of_a_script(sandbox, run):
    wanted = [
        random.Random(3).random(),
        numpy.random.default_rng(5).random(),
        numpy.random.RandomState(7).random_sample(),
    ]
    assert drawn(sandbox, run, "seeded") == wanted


def test_a_generator_of_the_system_has_no_seed(sandbox):
    assert drawn(sandbox, "five", "system") != drawn(sandbox, "again", "system")
