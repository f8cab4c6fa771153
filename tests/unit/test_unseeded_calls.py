"""Where code draws numbers that no seed decides."""

from __future__ import annotations

import pytest

from job_orchestration.comparison import unseeded_calls

SOURCE = b"""
import os, random, secrets, uuid
import random as r
import numpy as np
import numpy.random
from numpy.random import default_rng as rng, Generator, PCG64
from random import Random
from . import default_rng

RNG = np.random.default_rng()  # made before the fork, and seeded before each task


class Task:
    def run(self, seed):
        %s


def default(seed, random=None):
    return 1
"""


@pytest.mark.parametrize(
    "call",
    [
        "np.random.default_rng()",
        "np.random.default_rng(None)",
        "np.random.default_rng(seed=None)",
        "numpy.random.RandomState()",
        "rng()",
        "PCG64()",
        "random.Random()",
        "Random()",
        "r.Random(None)",
        "random.seed()",
        "random.SystemRandom()",
        "secrets.token_bytes(8)",
        "os.urandom(8)",
        "uuid.uuid4()",
    ],
)
def test_a_call_in_a_function_that_no_seed_decides_is_found(call):
    line = SOURCE.split(b"\n").index(b"        %s") + 1
    (found,) = unseeded_calls.find("Tasks.py", SOURCE % f"x = [{call} for _ in 'a']".encode())
    assert (found.path, found.line, found.call) == ("Tasks.py", line, call)


@pytest.mark.parametrize(
    "call",
    [
        "np.random.default_rng(seed)",
        "np.random.default_rng(seed=seed)",
        "np.random.default_rng(*[seed])",
        "np.random.default_rng(**{'seed': seed})",
        "Random(0)",
        "Random(x=0)",
        "random.random()",
        "np.random.rand()",
        "default_rng()",
        "self.random.Random()",
        "uuid.uuid5(seed, 'x')",
        "'''np.random.default_rng()'''",
    ],
)
def test_a_call_with_a_seed_and_one_of_something_else_is_not(call):
    assert unseeded_calls.find("Tasks.py", SOURCE % call.encode()) == []


@pytest.mark.parametrize(
    "source", [b"def", b"\0", b"\xff", b"(" * 5000, b"x = " + b"-" * 100_000 + b"1", b""]
)
def test_a_file_that_cannot_be_parsed_has_none(source):
    assert unseeded_calls.find("Tasks.py", source) == []
