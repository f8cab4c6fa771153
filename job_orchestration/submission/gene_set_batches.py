"""Batches of gene sets: a config with ``genesets`` stands for a sweep over all sets of a file or folder.

``genesets`` is the path of a GMT file, or of a folder with a gene list in each file. The sets become the
first axis of a grid. Lists of networks, features, species and collections at the top of the config become
further axes, and a ``sweep`` of its own is multiplied with them. What a trial gets are keys of `LoadGeneset`:
``genesetFile``, and ``genesetName`` for a set of a GMT file.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from job_orchestration.config.yaml_reader import Node, plain
from job_orchestration.diagnostics.problems import Problem, escaped, named
from job_orchestration.workspace import safe_reads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.config.config import Json

KEY: Final = "genesets"
MARK: Final = "genesetsFrom"
"""The key of each trial, with the path of the batch; so a trial's config by itself is one run."""
AXES: Final = ("net_type", "features", "sp_trn", "gsc_trn", "gsc", "GSC")
"""Keys of which a list at the top of a config is an axis. Lists of result species stay what they are."""
_TASK: Final = "LoadGeneset"
_LARGEST: Final = 64 << 20
_ONE_LIST: Final = ("geneset", "genes", "input_genes", "genesetFile", "genesetName")
_FEWEST_FIELDS: Final = 3


class _BatchError(Exception):
    """The sets cannot be listed."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(what, todo)
        self.what, self.todo = what, todo


def is_batch(values: Mapping[str, Json]) -> bool:
    """Return whether a config stands for a batch: it has ``genesets``, and a task that loads gene sets."""
    tasks = values.get("tasks")
    entries = tasks if isinstance(tasks, list) else []
    return KEY in values and any(isinstance(e, dict) and _loads(e.get("method")) for e in entries)


def expanded(root: Node, file: str) -> tuple[Node, list[Problem]]:
    """Return the config of a batch with its sweep; any other config as it is.

    Args:
        root: the config's tree.
        file: its name, for the problems.
    """
    top = root.value
    if not isinstance(top, Mapping) or KEY not in top or not is_batch(_plain(root)):
        return root, []
    at, node = top[KEY]
    try:
        key, names, more = _sets(plain(node), set(top))
        axis = tuple(Node(node.line, node.column, name) for name in names)
        grid = {key: (at, Node(node.line, node.column, axis))}
        entries = {
            k: v for k, v in top.items() if k != KEY and (k not in AXES or not isinstance(v[1].value, tuple))
        }
        entries[MARK] = top[KEY]
        grid |= {k: top[k] for k in AXES if k in top and k not in entries}
        entries |= {k: (at, Node(node.line, node.column, value)) for k, value in more.items()}
        entries[key] = (at, axis[0])  # so that the parameter is a key of the config
        entries["sweep"] = _with_sweep(top.get("sweep"), grid, at)
    except _BatchError as error:
        return root, [Problem(file, error.what, error.todo, KEY, node.line, node.column)]
    return Node(root.line, root.column, entries), []


def _plain(root: Node) -> Mapping[str, Json]:
    values = plain(root)
    return values if isinstance(values, dict) else {}


def _loads(method: object) -> bool:
    return isinstance(method, str) and method.replace(":", ".").rsplit(".", 1)[-1] == _TASK


def _with_sweep(
    sweep: tuple[Node, Node] | None, grid: Mapping[str, tuple[Node, Node]], at: Node
) -> tuple[Node, Node]:
    """Return the sweep of a config with more axes in its grid; what is no sweep is left to its own checks."""
    if sweep is None:
        return at, Node(at.line, at.column, {"grid": (at, Node(at.line, at.column, grid))})
    key, block = sweep
    if not isinstance(block.value, Mapping):
        return sweep
    if "search" in block.value:
        raise _BatchError("a search has one gene set, and no genesets", "Give genesetFile and genesetName")
    where, own = block.value.get("grid", (key, Node(key.line, key.column, {})))
    if not isinstance(own.value, Mapping):
        return sweep
    twice = grid.keys() & own.value.keys()
    if twice:
        raise _BatchError(f"{named(sorted(twice))} is in the grid already", "Keep one of the two")
    merged = Node(own.line, own.column, {**grid, **own.value})
    return key, Node(block.line, block.column, {**block.value, "grid": (where, merged)})


def _sets(value: Json, keys: set[str]) -> tuple[str, list[str], dict[str, str]]:
    """Return the key that tells the sets apart, its values, and the keys that all trials have besides."""
    both = [key for key in _ONE_LIST if key in keys]
    if both:
        raise _BatchError(f"{both[0]} is one gene set, and genesets are many", "Keep one of them")
    if not isinstance(value, str) or "\0" in value or not os.path.isabs(os.path.expanduser(value)):
        raise _BatchError(
            f"{escaped(str(value))[:200]} is no absolute path", "Name a GMT file, or a folder of gene lists"
        )
    path = os.path.expanduser(value)
    try:
        if os.path.isdir(path):
            return "genesetFile", _lists_in(path), {}
        return "genesetName", _names_in(path), {"genesetFile": path}
    except OSError as error:
        raise _BatchError(
            f"{escaped(path)} cannot be read: {error.strerror or error}",
            "Name a GMT file, or a folder of gene lists",
        ) from error


def _lists_in(folder: str) -> list[str]:
    """Return the paths of the gene lists in a folder: all its visible files."""
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    found = [path for path in paths if stat.S_ISREG(os.stat(path).st_mode)]
    if not found:
        raise _BatchError(f"{escaped(folder)} has no files", "Put a file for each gene set into it")
    return found


def _names_in(path: str) -> list[str]:
    """Return the names of the sets in a GMT file."""
    data = safe_reads.whole(os.path.realpath(path), _LARGEST)
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        lines = data.decode(encoding).splitlines()
    except UnicodeDecodeError as error:
        raise _BatchError(f"{escaped(path)} is not UTF-8 text", "Save it as plain text") from error
    fields = [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
    if not path.lower().endswith((".gmt", ".gmt.txt")) or not any(
        len(one) >= _FEWEST_FIELDS for one in fields
    ):
        raise _BatchError(
            f"{escaped(path)} is no GMT file: a name, a description and genes a line, with tabs between them",
            "Name a file that ends in .gmt, or a folder of gene lists",
        )
    names = [name for one in fields if (name := one[0].strip())]
    return _different(names, path)


def _different(names: Sequence[str], path: str) -> list[str]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise _BatchError(
            f"{escaped(path)} has several sets called {named(map(escaped, twice))}", "Call them differently"
        )
    return list(names)
