"""Reseed the random generators that the tasks' modules made without a seed, so that runs do not share them.

``RNG = random.Random()`` or ``RNG = np.random.default_rng()`` at the top of ``Tasks.py`` is made once, in the
fork server, and every fork would draw the same numbers from it. Each such generator gets a seed of its own
from the seed of the run, before each task. Generators that were made with a seed are left alone.

A generator of NumPy is known to be without a seed by its entropy: NumPy asks ``secrets.randbits`` for it, and
the answers are recorded while the tasks are imported. One of PyTorch has the same seed in every process until
its ``seed()`` draws another; then that is larger than those that people write.
"""

from __future__ import annotations

import random
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_of_python: Final[list[random.Random]] = []
_of_numpy: Final[list[Any]] = []
"""Bit generators of NumPy."""
_of_torch: Final[list[Any]] = []
_LARGE: Final = 1 << 53
"""Seeds of PyTorch from here on were drawn at random: 64 bits of the system."""
_entropies: Final[dict[int, int]] = {}
"""The random numbers that NumPy may have got as entropy, in the order in which it got them."""


@contextmanager
def recorded() -> Iterator[None]:
    """Note the generators that are made without a seed while the tasks are imported."""
    import secrets

    is_over = False
    draw, seed = secrets.randbits, random.Random.seed

    def randbits(k: int) -> int:  # NumPy keeps this function for ever if it is imported now
        number = draw(k)
        if not is_over:
            _entropies.setdefault(number, len(_entropies))
        return number

    def seed_or_note(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None and not isinstance(self, random.SystemRandom):
            _of_python.append(self)
        seed(self, a, version)

    secrets.randbits, random.Random.seed = randbits, seed_or_note  # type: ignore[method-assign]
    if "numpy" in sys.modules:
        _watch_loaded_numpy(randbits)
    try:
        yield
    finally:
        is_over = True
        secrets.randbits, random.Random.seed = draw, seed  # type: ignore[method-assign]
    _find_those_of_numpy()
    _find_those_of_torch()


def _watch_loaded_numpy(randbits: Callable[[int], int]) -> None:
    module: Any = sys.modules.get("numpy.random.bit_generator")
    if hasattr(module, "randbits"):
        module.randbits = randbits


def _find_those_of_numpy() -> None:
    if not _entropies or "numpy.random" not in sys.modules:
        return
    import gc

    kind = sys.modules["numpy.random"].BitGenerator
    made = [found for found in gc.get_objects() if isinstance(found, kind)]
    made += _held_by_generators(kind)
    known = {id(found): found for found in made if _order(found) is not None}
    own = _global_state()
    _of_numpy[:] = sorted((f for f in known.values() if f is not own), key=lambda found: _order(found) or 0)


def _held_by_generators(kind: type) -> list[Any]:
    """Find bit generators that the garbage collector does not know, through what holds them."""
    import gc

    numpy_random: Any = sys.modules["numpy.random"]
    found: list[Any] = []
    for holder in gc.get_objects():
        if isinstance(holder, numpy_random.Generator):
            found.append(holder.bit_generator)
        elif isinstance(holder, numpy_random.RandomState):
            found.append(holder._bit_generator)  # noqa: SLF001  # the public name came only later
        elif isinstance(holder, dict):
            for value in list(holder.values()):
                if isinstance(value, kind):
                    found.append(value)
                elif isinstance(value, numpy_random.Generator):
                    found.append(value.bit_generator)
                elif isinstance(value, numpy_random.RandomState):
                    found.append(value._bit_generator)  # noqa: SLF001
    return found


def _find_those_of_torch() -> None:
    torch: Any = sys.modules.get("torch")
    kind = getattr(torch, "Generator", None)
    if kind is None:
        return
    import gc

    found: dict[int, Any] = {}
    for holder in gc.get_objects():  # which does not know the generators themselves
        if type(holder) is dict or type(holder) is list:
            values = list(holder.values()) if type(holder) is dict else holder
            found.update((id(value), value) for value in values if type(value) is kind)
    own = getattr(torch, "default_generator", None)
    _of_torch[:] = [one for one in found.values() if one is not own and one.initial_seed() >= _LARGE]


def _order(found: Any) -> int | None:
    sequence = getattr(found, "seed_seq", None) or getattr(found, "_seed_seq", None)
    entropy = getattr(sequence, "entropy", None)
    return _entropies.get(entropy) if isinstance(entropy, int) else None


def _global_state() -> object:
    """Return the generator behind ``numpy.random.seed``, which has the seed of the run already."""
    mtrand: Any = sys.modules["numpy.random"].mtrand
    return getattr(mtrand._rand, "_bit_generator", None)  # noqa: SLF001


def reseed(seed: int) -> None:
    """Seed each noted generator by the seed of the run and its place among the others."""
    for number, generator in enumerate(_of_python):
        generator.seed(f"{seed}:{number}")
    for number, found in enumerate(_of_numpy):
        found.state = type(found)([seed, number]).state
    for number, found in enumerate(_of_torch):
        draw = random.Random(f"{seed}:torch:{number}")  # noqa: S311  # it hides nothing
        found.manual_seed(draw.getrandbits(63))
