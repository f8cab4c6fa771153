"""Compare the contents of two files: are they identical, equal within a tolerance, or different, and where?

The end of a file's name says how: tables row by row, by a key column; JSON and YAML by structure; NumPy
arrays by element; images by pixel. A content that is of no such kind, is damaged, or is very large, is
compared by its bytes. Nothing in a file is executed: no pickle is read.
"""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.comparison import array_comparison, table_comparison
from job_orchestration.comparison.deviations import EXACT, Comparison, Deviations, Tolerance, Verdict
from job_orchestration.config import json_floats

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST: Final = 256 << 20
"""Bytes; a larger file is compared by its bytes."""
_MOST_DEPTH: Final = 200
_IMAGES: Final = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")


def compare(name: str, before: bytes, after: bytes, tolerance: Tolerance) -> Comparison:
    """Compare two contents of a file.

    Args:
        name: the file's name, whose ending says what it is.
        before: the content in the original.
        after: the content in the rerun.
        tolerance: which numbers count as equal.
    """
    if before == after:
        return Comparison(name, Verdict.IDENTICAL)
    if tolerance.names and _renamed(after, tolerance) == before:
        return Comparison(name, Verdict.EQUAL, remark="only the names of the runs differ")
    remark = ""
    method, before, after = _method(name.lower(), before, after)
    found = Deviations(tolerance)
    try:
        if max(len(before), len(after)) > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MB")  # noqa: TRY301  # the cure is below
        how = method(before, after, found)
    except ImportError as error:
        remark = f"{error.name} is not installed"
    except Exception as error:  # noqa: BLE001  # whatever a task wrote there: its bytes can be compared
        remark = f"it cannot be read as its name says: {str(error)[:200] or type(error).__name__}"
    else:
        return found.comparison(name, how)
    found = Deviations(tolerance)
    return found.comparison(name, _by_bytes(before, after, found), remark)


def compare_values(name: str, before: Any, after: Any, tolerance: Tolerance) -> Comparison:
    """Compare two JSON values, such as what a task returned."""
    found = Deviations(tolerance)
    _walk(found, "", before, after, 0)
    return found.comparison(name, "structure")


def _method(name: str, before: bytes, after: bytes) -> tuple[Callable[..., str], bytes, bytes]:
    """Choose how to compare two contents; return them unpacked if they are packed."""
    if name.endswith(".gz"):
        name = name.removesuffix(".gz")
        try:
            before, after = _unpacked(before), _unpacked(after)
        except (OSError, EOFError, ValueError):
            return _by_bytes, before, after
    return next((known for endings, known in _METHODS if name.endswith(endings)), _by_bytes), before, after


def _renamed(data: bytes, tolerance: Tolerance) -> bytes:
    """Return a text of the rerun with the names of the original; the same if it is no text."""
    try:
        return tolerance.renamed(data.decode()).encode()
    except UnicodeDecodeError:
        return data


def _unpacked(data: bytes) -> bytes:
    import gzip

    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        found = file.read(LARGEST + 1)
    if len(found) > LARGEST:
        raise ValueError(f"more than {LARGEST >> 20} MB")
    return found


def _by_bytes(before: bytes, after: bytes, found: Deviations) -> str:
    if before != after:
        at = next((n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), None)
        at = min(len(before), len(after)) if at is None else at
        found.differ(f"byte {at}", f"{len(before)} bytes", f"{len(after)} bytes")
    return "bytes"


# -- structure --------------------------------------------------------------------------------------------


def _by_json(before: bytes, after: bytes, found: Deviations) -> str:
    _walk(found, "", json_floats.value_of(before), json_floats.value_of(after), 0)
    return "structure"


def _by_lines(before: bytes, after: bytes, found: Deviations) -> str:
    lines = itertools.zip_longest(before.splitlines(), after.splitlines())
    for number, (old, new) in enumerate(lines, 1):
        if old is None or new is None:
            found.differ(f"line {number}", _line(old), _line(new))
        elif old != new:
            _walk(found, f"line {number}", json.loads(old), json.loads(new), 0)
    return "structure of each line"


def _line(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "replace")


def _by_yaml(before: bytes, after: bytes, found: Deviations) -> str:
    from job_orchestration.config import yaml_reader

    values = []
    for data in (before, after):
        root, problems = yaml_reader.read(data, "")
        if root is None or any(problem.is_error for problem in problems):
            raise ValueError("it is no YAML of one document")
        values.append(yaml_reader.plain(root))
    _walk(found, "", values[0], values[1], 0)
    return "structure"


def _walk(found: Deviations, where: str, before: Any, after: Any, depth: int) -> None:
    """Compare two values of JSON, member by member."""
    if depth > _MOST_DEPTH:
        raise ValueError("it is nested too deeply")
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            place = f"{where}.{key}" if where else str(key)
            if key not in before or key not in after:
                found.differ(place, before.get(key, ABSENT), after.get(key, ABSENT))
            else:
                _walk(found, place, before[key], after[key], depth + 1)
    elif isinstance(before, list) and isinstance(after, list):
        pairs = itertools.zip_longest(before, after, fillvalue=ABSENT)
        for index, (old, new) in enumerate(pairs):
            if old is ABSENT or new is ABSENT:
                found.differ(f"{where}[{index}]", old, new)
            else:
                _walk(found, f"{where}[{index}]", old, new, depth + 1)
    else:
        found.compare(where or "the value", before, after)


ABSENT: Final = "(absent)"
"""Stands for a member that one of the two lacks."""


# -- pixels -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Frames:
    """The frames of an image, one after the other."""

    image: Any

    def __len__(self) -> int:
        return int(getattr(self.image, "n_frames", 1))

    def __getitem__(self, number: int) -> Any:
        self.image.seek(number)
        return self.image.convert("RGBA")


def _by_pixels(before: bytes, after: bytes, found: Deviations) -> str:
    from PIL import Image, ImageChops

    with Image.open(io.BytesIO(before)) as old, Image.open(io.BytesIO(after)) as new:
        frames = _Frames(old), _Frames(new)
        if old.size != new.size or len(frames[0]) != len(frames[1]):
            found.differ("the size", _size_of(old, len(frames[0])), _size_of(new, len(frames[1])))
            return "pixels"
        for number in range(len(frames[0])):
            if _DEEP & {old.mode, new.mode}:
                if old.mode != new.mode or old.tobytes() != new.tobytes():
                    found.differ("the pixels", old.mode, new.mode)
                continue
            pair = frames[0][number], frames[1][number]
            box = ImageChops.difference(*pair).getbbox(alpha_only=False)
            if box is not None:
                name = f"frame {number}, " if len(frames[0]) > 1 else ""
                place = f"{name}from ({box[0]}, {box[1]}) to ({box[2]}, {box[3]})"
                found.differ(place, *(str(image.getpixel(box[:2])) for image in pair))
    return "pixels"


_DEEP: Final = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
"""Modes of images with more than eight bits a channel."""


def _size_of(image: Any, frames: int) -> str:
    return f"{image.size[0]} x {image.size[1]}" + (f", {frames} frames" if frames > 1 else "")


_METHODS: Final[tuple[tuple[tuple[str, ...], Callable[[bytes, bytes, Deviations], str]], ...]] = (
    ((".tsv", ".tab"), table_comparison.by_tabs),
    ((".csv",), table_comparison.by_commas),
    ((".parquet", ".pq"), table_comparison.by_parquet),
    ((".json",), _by_json),
    ((".jsonl", ".ndjson"), _by_lines),
    ((".yaml", ".yml"), _by_yaml),
    ((".npy",), array_comparison.by_array),
    ((".npz",), array_comparison.by_archive),
    (_IMAGES, _by_pixels),
)
__all__ = ["ABSENT", "EXACT", "LARGEST", "compare", "compare_values"]
