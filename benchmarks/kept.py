"""What has been measured so far, one line of JSON each, so that `make bench` goes on where it stopped."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.measuring import Measured
from benchmarks.places import CACHE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Kept:
    """The measurements of one part."""

    def __init__(self, part: str) -> None:
        self.path: Path = CACHE / f"{part}.jsonl"
        self._found: dict[tuple[object, ...], Measured] = {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                one = json.loads(line)
                one.pop("date")
                self._note(Measured.from_json(one))

    def _note(self, one: Measured) -> None:
        self._found[one.key] = one

    def add(self, one: Measured) -> None:
        """Keep a measurement; a later one of the same thing replaces it."""
        self._note(one)
        CACHE.mkdir(parents=True, exist_ok=True)
        line = {**one.as_json(), "date": today()}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def has(self, key: tuple[object, ...]) -> bool:
        """Whether this was measured, well or badly."""
        return key in self._found

    def of(self, peer: str, where: str, experiments: int, workers: int = 1, steps: int = 3) -> list[Measured]:
        """All rounds of one thing."""
        wanted = (peer, where, experiments, workers, steps)
        return [one for key, one in self._found.items() if key[:-1] == wanted]

    def median(
        self, peer: str, what: str, where: str, experiments: int, workers: int = 1, phase: str | None = None
    ) -> float | None:
        """The median over the good rounds of ``wall``, ``cpu`` or ``rss``, of all phases or of one."""
        good = [one for one in self.of(peer, where, experiments, workers) if not one.trouble]
        values = [one.total(what) if phase is None else getattr(one.phases[phase], what) for one in good]
        return median(values) if values else None

    def __iter__(self) -> Iterator[Measured]:
        return iter(self._found.values())


def today() -> str:
    """The date, for what is kept."""
    return datetime.now(UTC).strftime("%Y-%m-%d")
