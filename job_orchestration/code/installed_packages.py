"""The installed packages of this interpreter, and the commits of those that are installed as editable.

`importlib.metadata` parses each package's whole description, 1 ms a package; a worker and `ready` want only
names and versions, so the first lines are read here. No git is run: a repository may configure commands.
"""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from job_orchestration.workspace import safe_reads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.config.config import Json

_HEAD: Final = 1 << 14
"""Bytes of a package's metadata in which its name and version stand."""
_LARGEST: Final = 1 << 16
_NAME: Final = re.compile(rb"^Name:[ \t]*([^\r\n]*)", re.MULTILINE | re.IGNORECASE)
_VERSION: Final = re.compile(rb"^Version:[ \t]*([^\r\n]*)", re.MULTILINE | re.IGNORECASE)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MOST_LINKS: Final = 5
"""Symbolic references that are followed from ``HEAD`` to a commit."""


def normalised(name: str) -> str:
    """Return the name of a package as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> tuple[dict[str, Json], dict[str, Json]]:
    """Return the installed packages, and of the editable ones where they lie.

    Returns:
        Name to version; and name to ``folder`` and ``commit``, which is `None` outside a repository. Of two
        packages of one name the first on ``sys.path`` counts: it is the one that is imported.
    """
    packages: dict[str, Json] = {}
    editable: dict[str, Json] = {}
    for folder in dict.fromkeys(sys.path):
        if os.path.isfile(folder):
            _add_zipped(folder, packages)
            continue
        for path in _metadata_in(folder or os.curdir):
            about = _name_and_version(path)
            if about is None or about[0] in packages:
                continue  # an interrupted uninstallation leaves neither
            name, packages[name] = about
            if (source := _editable_folder(path)) is not None:
                editable[name] = {"folder": source, "commit": commit_of(source)}
    return dict(sorted(packages.items())), dict(sorted(editable.items()))


def _metadata_in(folder: str) -> Iterator[str]:
    with suppress(OSError):
        for name in sorted(os.listdir(folder)):
            if name.endswith((".dist-info", ".egg-info")):
                yield os.path.join(folder, name)


def _name_and_version(path: str) -> tuple[str, str] | None:
    names = ("METADATA", "PKG-INFO") if path.endswith(".dist-info") else ("PKG-INFO", "")
    for name in names:
        with suppress(OSError), open(os.path.join(path, name) if name else path, "rb") as file:
            head = file.read(_HEAD).partition(b"\n\n")[0]
            found, version = _NAME.search(head), _VERSION.search(head)
            if found is not None and version is not None:
                return normalised(found[1].decode("utf-8", "replace").strip()), version[1].decode(
                    "utf-8", "replace"
                ).strip()
    return None


def _add_zipped(path: str, packages: dict[str, Json]) -> None:
    from importlib import metadata

    with suppress(Exception):  # whatever a broken archive raises
        for distribution in metadata.distributions(path=[path]):
            about = distribution.metadata
            if "Name" in about and "Version" in about:
                packages.setdefault(normalised(about["Name"]), about["Version"])


def _editable_folder(path: str) -> str | None:
    """Return the folder that an editable package is imported from."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        about = json.loads(safe_reads.whole(os.path.join(path, "direct_url.json"), _LARGEST))
        parts = urlsplit(about["url"])
        if about.get("dir_info", {}).get("editable") and parts.scheme == "file":
            return unquote(parts.path)
    return None


def commit_of(folder: str) -> str | None:
    """Return the commit that is checked out around a folder, as the files of its repository say."""
    with suppress(OSError, ValueError):
        while not os.path.lexists(os.path.join(folder, ".git")):
            folder, below = os.path.dirname(folder), folder
            if folder == below:
                return None
        repository = _repository_at(os.path.join(folder, ".git"))
        shared = repository
        with suppress(OSError):
            shared = os.path.join(repository, _text(os.path.join(repository, "commondir")))
        return _resolved(repository, shared)
    return None


def _repository_at(path: str) -> str:
    """Return the folder of a repository; a linked work tree and a submodule have a file that names it."""
    if os.path.isdir(path):
        return path
    text = _text(path)
    if not text.startswith("gitdir: "):
        raise ValueError(path)
    return os.path.join(os.path.dirname(path), text.removeprefix("gitdir: "))


def _resolved(repository: str, shared: str) -> str | None:
    text = _text(os.path.join(repository, "HEAD"))
    for _ in range(_MOST_LINKS):
        if _COMMIT.fullmatch(text):
            return text
        name = text.removeprefix("ref: ")
        if name == text or ".." in name.split("/") or name.startswith("/"):
            return None
        try:
            text = _text(os.path.join(shared, name))
        except OSError:
            return _packed(shared, name)
    return None


def _packed(shared: str, name: str) -> str | None:
    for line in safe_reads.whole(os.path.join(shared, "packed-refs")).decode("utf-8", "replace").splitlines():
        commit, _, found = line.partition(" ")
        if found == name and _COMMIT.fullmatch(commit):
            return commit
    return None


def _text(path: str) -> str:
    return safe_reads.whole(path, _LARGEST).decode("utf-8", "surrogateescape").strip()
