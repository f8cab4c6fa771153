"""Compare two NumPy arrays, or two archives of them, element by element. No pickle is read."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.comparison.deviations import MOST_NAMED

if TYPE_CHECKING:
    from job_orchestration.comparison.deviations import Deviations

_LARGEST: Final = 1 << 30
"""Bytes of an archive once it is unpacked."""
_ABSENT: Final = "(absent)"


def by_array(before: bytes, after: bytes, found: Deviations) -> str:
    """Compare two ``.npy`` files; return what was compared."""
    import numpy as np

    arrays = [np.load(io.BytesIO(data), allow_pickle=False) for data in (before, after)]
    _compare(found, "", arrays[0], arrays[1])
    return "array"


def by_archive(before: bytes, after: bytes, found: Deviations) -> str:
    """Compare two ``.npz`` files; return what was compared."""
    import numpy as np

    for data in (before, after):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:
                raise ValueError(f"more than {_LARGEST >> 20} MB")
    with (
        np.load(io.BytesIO(before), allow_pickle=False) as old,
        np.load(io.BytesIO(after), allow_pickle=False) as new,
    ):
        for name in dict.fromkeys((*old.files, *new.files)):
            if name not in new.files:
                found.differ(name, str(old[name].shape), _ABSENT)
            elif name not in old.files:
                found.differ(name, _ABSENT, str(new[name].shape))
            else:
                _compare(found, name, old[name], new[name])
    return "arrays"


def _compare(found: Deviations, name: str, before: Any, after: Any) -> None:
    import numpy as np

    place = name or "the array"
    if before.shape != after.shape or before.dtype.kind != after.dtype.kind:
        found.differ(place, f"{before.dtype} {before.shape}", f"{after.dtype} {after.shape}")
        return
    if before.dtype.kind not in "biufc":
        for index in np.argwhere(np.atleast_1d(before != after))[:MOST_NAMED]:
            at = tuple(map(int, index)) if before.shape else ()
            found.differ(f"{name}{_index(at)}", str(before[at]), str(after[at]))
        found.more(max(int(np.sum(before != after)) - MOST_NAMED, 0), within=False)
        return
    if before.dtype.kind == "b":
        before, after = before.astype(np.int8), after.astype(np.int8)
    _compare_numbers(found, name, np.atleast_1d(before), np.atleast_1d(after))


def _compare_numbers(found: Deviations, name: str, before: Any, after: Any) -> None:
    import numpy as np

    kind = np.complex128 if before.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        unlike = (before != after) & ~((before != before) & (after != after))  # noqa: PLR0124  # NaN is NaN
        where = np.argwhere(unlike)
        old, new = before[unlike].astype(kind), after[unlike].astype(kind)
        apart, largest = np.abs(new - old), np.maximum(np.abs(old), np.abs(new))
        tolerance = found.tolerance
        accepted = apart <= np.maximum(tolerance.rtol * largest, tolerance.atol)
        accepted &= np.isfinite(apart)
        if before.dtype.kind in "iu" and after.dtype.kind in "iu":
            accepted[:] = False  # whole numbers count, or name something
        ratios = apart / largest
    for within in (False, True):
        chosen = np.flatnonzero(accepted == within)
        for n in chosen[:MOST_NAMED]:
            at = f"{name}{_index(tuple(map(int, where[n])))}"
            if kind is np.complex128:
                found.differ(at, str(old[n]), str(new[n])) if not within else found.more(1, within=True)
            else:
                found.measure(at, float(old[n]), float(new[n]), may_accept=within)
        rest = chosen[MOST_NAMED:]
        finite = rest[np.isfinite(apart[rest])]
        greatest = float(apart[finite].max()) if len(finite) else 0.0
        relative = float(ratios[finite].max()) if len(finite) else 0.0
        found.more(len(rest), within=within, greatest=greatest, relative=relative)


def _index(at: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, at))}]"
