"""What a comparison of two contents finds: a verdict, how many places differ, and the first of them. Pure."""

from __future__ import annotations

import fnmatch
import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

MOST_NAMED: Final = 10
"""How many places of each file are named."""
RTOL: Final = 1e-6
ATOL: Final = 0.0
_LONGEST: Final = 200


class Verdict(StrEnum):
    """How alike two contents are, the most alike first."""

    IDENTICAL = "identical"
    EQUAL = "equal"
    """All numbers are within the tolerance, and all else is the same."""
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two numbers may be apart and still count as equal."""

    rtol: float = RTOL
    """As a share of the larger one."""
    atol: float = ATOL
    names: tuple[tuple[str, str], ...] = ()
    """The names of the rerun, each with that of the original: a text that differs in them only is equal."""
    left_out: tuple[str, ...] = ()
    """Globs of places in a file that are not compared, such as ``seconds.*``."""

    def renamed(self, text: str) -> str:
        """Return a text of the rerun with the names of the original."""
        for new, old in self.names:
            text = text.replace(new, old)
        return text

    def is_left_out(self, where: str) -> bool:
        """Return whether a place is not compared."""
        return any(fnmatch.fnmatchcase(where, glob) for glob in self.left_out)

    def accepts(self, before: float, after: float) -> bool:
        """Return whether two numbers are equal; NaN equals NaN."""
        if math.isnan(before) or math.isnan(after):
            return math.isnan(before) and math.isnan(after)
        return math.isclose(before, after, rel_tol=self.rtol, abs_tol=self.atol)


EXACT: Final = Tolerance(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Deviation:
    """One place in which two contents are not alike."""

    where: str
    before: Any
    """In the original: a number, a text, a truth value or `None`."""
    after: Any
    difference: float | None = None
    """By how much, if both are finite numbers."""
    within: bool = False
    """Whether that is within the tolerance."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of comparing one file, or the result of one task."""

    name: str
    verdict: Verdict
    method: str = "bytes"
    """What was compared: ``table by Entrez``, ``structure``, ``array``, ``pixels`` or ``bytes``."""
    count: int = 0
    """In how many places the two are different; if in none, how many numbers are not exactly the same."""
    first: tuple[Deviation, ...] = ()
    """The first of these places."""
    greatest: float | None = None
    """The greatest difference of two numbers."""
    relative: float | None = None
    """The greatest difference as a share of the larger number."""
    remark: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as a record of a verification has it."""
        return {**asdict(self), "verdict": str(self.verdict)}


@dataclass(slots=True)
class Deviations:
    """Collects the places in which two contents are not alike."""

    tolerance: Tolerance
    remark: str = ""
    _different: list[Deviation] = field(default_factory=list)
    _within: list[Deviation] = field(default_factory=list)
    _counts: list[int] = field(default_factory=lambda: [0, 0])
    _greatest: list[float | None] = field(default_factory=lambda: [None, None])

    def compare(self, where: str, before: Any, after: Any) -> None:
        """Compare two single values."""
        if self.tolerance.left_out and self.tolerance.is_left_out(where):
            return
        a, b = number_of(before), number_of(after)
        if isinstance(before, str) and isinstance(after, str) and self.tolerance.names:
            after = before if self.tolerance.renamed(after) == before else after
        if a is not None and b is not None:
            if a != b and not (math.isnan(a) and math.isnan(b)):
                both_whole = isinstance(before, int) and isinstance(after, int)
                self.measure(where, before, after, may_accept=not both_whole)
        elif type(before) is not type(after) or before != after:
            self.differ(where, before, after)

    def measure(self, where: str, before: float, after: float, *, may_accept: bool = True) -> None:
        """Add two numbers that are not exactly the same.

        Args:
            where: the place.
            before: the number in the original.
            after: the number in the rerun.
            may_accept: whether the tolerance holds for them: not for whole numbers, which count or name.
        """
        accepted = may_accept and self.tolerance.accepts(before, after)
        difference = float(abs(after - before))
        finite = difference if math.isfinite(difference) else None
        if finite is not None:
            largest = max(abs(before), abs(after))
            self._greatest[0] = max(self._greatest[0] or 0.0, finite)
            self._greatest[1] = max(self._greatest[1] or 0.0, finite / largest)
        self._add(Deviation(where, before, after, finite, within=accepted))

    def differ(self, where: str, before: Any, after: Any) -> None:
        """Add two values that are different and no numbers."""
        if self.tolerance.left_out and self.tolerance.is_left_out(where):
            return
        self._add(Deviation(where, _short(before), _short(after)))

    def more(self, number: int, *, within: bool, greatest: float = 0.0, relative: float = 0.0) -> None:
        """Count places that are not named, and their greatest difference."""
        self._counts[within] += number
        if greatest or relative:
            self._greatest = [
                max(self._greatest[0] or 0.0, greatest),
                max(self._greatest[1] or 0.0, relative),
            ]

    def _add(self, deviation: Deviation) -> None:
        self._counts[deviation.within] += 1
        kept = self._within if deviation.within else self._different
        if len(kept) < MOST_NAMED:
            kept.append(deviation)

    def comparison(self, name: str, method: str, remark: str = "") -> Comparison:
        """Return the result; contents that differ in nothing but their form are equal."""
        different, within = self._counts
        verdict = Verdict.DIFFERENT if different else Verdict.EQUAL
        first = tuple(self._different if different else self._within)
        remark = remark or self.remark
        greatest, relative = self._greatest
        return Comparison(name, verdict, method, different or within, first, greatest, relative, remark)


def number_of(value: Any) -> float | None:
    """Return a number as a float; `None` for all else, such as a truth value or a number too large for it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if isinstance(value, float) or int(found) == value else None


def _short(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
