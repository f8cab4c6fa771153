"""`geneplexus download`: fetch GenePlexus's data, and verify them.

GenePlexus's own downloader holds an archive of gigabytes in memory, begins anew after each break, and
compares nothing but names. Here an archive goes to a file beside the data, and a download that was cut
goes on where it ended. Its size and digest are those that the record of the data set states. Files are
unpacked one by one, and their list, by which GenePlexus knows that all are there, comes last.
``DATA_VERSION.json`` gets the sha256 of each, which every run compares. An archive that a person puts into
the folder is unpacked without a network.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from geneplexus._config.config import URL_DICT  # the place of the data belongs to the package

from job_orchestration.diagnostics import sizes
from job_orchestration.geneplexus import checkpoints, data
from job_orchestration.geneplexus.settings import SPECIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PLACE: Final = "ZenodoAPI"
"""Which of the package's places is asked."""
_PART: Final = ".part"
_PIECE: Final = 1 << 20
_SILENCE: Final = 30.0
"""Seconds without a byte after which a download is given up; the next one goes on from there."""
_TRIES: Final = 5
_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_PARTIAL: Final = 206


class DownloadError(Exception):
    """The data cannot be fetched or are not what they should be; the message says what to do."""


def download(
    folder: str,
    species: Sequence[str],
    source: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Fetch the data of some species.

    Args:
        folder: where the data go; it is made if it is not there.
        species: some of GenePlexus's species.
        source: the address of the folder with the archives; default: the package's.
        say: called with a line for each step.

    Returns:
        The folder, and for each species how many files there are and whether they are new.

    Raises:
        DownloadError: they cannot be fetched, or are not what the record says.
    """
    unknown = [name for name in species if name not in SPECIES]
    if unknown:
        raise DownloadError(f"GenePlexus has no species {unknown[0]}. Choose from {', '.join(SPECIES)}.")
    place = Path(folder).expanduser().absolute()
    place.mkdir(parents=True, exist_ok=True)
    base = (source or URL_DICT[PLACE]).rstrip("/")
    made = {}
    for name in species:
        is_new = not _is_whole(place, name)
        if is_new:
            _fetch(place, name, base, say)
        made[name] = {"files": len(_listed(place, name)), "is_new": is_new}
    return {"folder": str(place), "species": made}


def _fetch(place: Path, species: str, base: str, say: Callable[[str], None]) -> None:
    name = f"{species}_data.tar.gz"
    archive = place / name
    stated: dict[str, Any] | None = None
    try:
        stated = _stated(base, name)
        if not archive.is_file():
            _transfer(f"{base}/{name}/content", archive, stated, say)
    except OSError as error:
        if not archive.is_file():
            raise DownloadError(
                f"{base} cannot be reached: {_reason(error)}. What has arrived is kept, and the same command "
                f"goes on with it. Without a network, fetch {name} elsewhere, put it into {place}, and give "
                f"the command again."
            ) from error
    _verify(archive, stated, say)
    say(f"{name} is unpacked")
    _unpack(archive, place, species, base, stated)
    archive.unlink()


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error)


def _stated(base: str, name: str) -> dict[str, Any]:
    """Return what the record of the data set says of an archive: ``size`` and ``checksum``.

    Raises:
        OSError: the record cannot be read.
        DownloadError: it does not say it.
    """
    try:
        with urllib.request.urlopen(base.removesuffix("/files"), timeout=_SILENCE) as answer:  # noqa: S310  a person names it
            record = json.loads(answer.read())
        stated = next(entry for entry in record["files"] if entry["key"] == name)
        return {"size": int(stated["size"]), "checksum": str(stated["checksum"])}
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise DownloadError(
            f"The record at {base} says nothing of {name}. Try another place with --from."
        ) from error


def _transfer(url: str, archive: Path, stated: dict[str, Any], say: Callable[[str], None]) -> None:
    """Fetch an archive into a file beside it, going on from what is there, and give it its name."""
    part = archive.with_name(f"{archive.name}{_PART}")
    for number in range(1, _TRIES + 1):
        begun = part.stat().st_size if part.exists() else 0
        if begun > stated["size"]:
            part.unlink()
            begun = 0
        if begun < stated["size"]:
            rest = sizes.text_of(stated["size"] - begun)
            say(f"{archive.name}: {rest} to fetch{', the rest of an earlier try' if begun else ''}")
            try:
                _append(url, part, begun)
            except (OSError, http.client.HTTPException):
                if number == _TRIES:
                    raise
                continue
        if part.stat().st_size >= stated["size"]:
            break
    if part.stat().st_size < stated["size"]:
        raise OSError(f"the connection ended {_TRIES} times before all had arrived")
    part.replace(archive)


def _append(url: str, part: Path, begun: int) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={begun}-"} if begun else {})  # noqa: S310  the same
    with urllib.request.urlopen(request, timeout=_SILENCE) as answer:  # noqa: S310  the same
        goes_on = answer.status == _PARTIAL
        with part.open("ab" if goes_on else "wb") as file:
            shutil.copyfileobj(answer, file, _PIECE)
            file.flush()
            os.fsync(file.fileno())


def _verify(archive: Path, stated: dict[str, Any] | None, say: Callable[[str], None]) -> None:
    """Compare an archive with its record; one that differs is set aside, so that it is fetched anew."""
    if stated is None:
        say(
            f"{archive.name} was put there by hand, and its record cannot be reached: its size and digest "
            f"are not verified"
        )
        return
    kind, _, digest = stated["checksum"].rpartition(":")
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, kind or "md5").hexdigest()
    if archive.stat().st_size != stated["size"] or found != digest:
        archive.replace(archive.with_name(f"{archive.name}.bad"))
        raise DownloadError(
            f"{archive.name} is not what its record says: its size or {kind or 'md5'} differs. It is kept as "
            f"{archive.name}.bad. Give the command again to fetch it anew."
        )


def _unpack(archive: Path, place: Path, species: str, base: str, stated: dict[str, Any] | None) -> None:
    listing = _list_name(species)
    contents: dict[str, dict[str, Any]] = {}
    last = None
    try:
        with tarfile.open(archive, "r:gz") as packed:
            for member in packed:
                name = os.path.basename(member.name)
                file = packed.extractfile(member) if member.isfile() else None
                if file is None or not _SAFE_NAME.fullmatch(name):
                    continue
                if name == listing:
                    last = file.read()
                else:
                    contents[name] = _put(file, place / name)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DownloadError(
            f"{archive.name} cannot be unpacked: {error}. Remove it, and fetch it anew."
        ) from error
    lacking = [name for name in (last or b"").decode().split() if name not in contents]
    if last is None or lacking:
        what = f"lacks {lacking[0]}" if lacking else f"has no {listing}"
        raise DownloadError(f"{archive.name} {what}. Remove it, and fetch it anew.")
    version = data.version(place)
    version = {
        **version,
        "source": version.get("source", base),
        "files": {**version.get("files", {}), **contents},
        "archives": {**version.get("archives", {}), archive.name: stated},
    }
    checkpoints.replace(place / data.VERSION_FILE, f"{json.dumps(version, indent=1)}\n".encode())
    checkpoints.replace(place / listing, last)


def _put(file: IO[bytes], path: Path) -> dict[str, Any]:
    """Write a file whole or not at all; return its size and digest."""
    part, digest, size = path.with_name(f"{path.name}{_PART}"), hashlib.sha256(), 0
    with part.open("wb") as target:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += target.write(piece)
        target.flush()
        os.fsync(target.fileno())
    part.replace(path)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _list_name(species: str) -> str:
    return f"data_filenames_{species}.txt"


def _listed(place: Path, species: str) -> list[str]:
    """The files of a species by the list that GenePlexus looks at; none without a list."""
    try:
        return (place / _list_name(species)).read_text("utf-8").split()
    except FileNotFoundError:
        return []


def _is_whole(place: Path, species: str) -> bool:
    """Whether all files of a species are there, with the sizes that they had when they were unpacked."""
    names, known = _listed(place, species), data.version(place).get("files", {})
    return bool(names) and all(
        (place / name).is_file() and (place / name).stat().st_size == known.get(name, {}).get("bytes", -1)
        if name in known
        else (place / name).is_file()
        for name in names
    )
