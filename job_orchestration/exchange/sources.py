"""Read the files of an export, which may come from anybody.

Only files that ``export.json`` lists are read, each up to its listed size, and each must have its listed
digest. In a folder no link is followed, at any depth. An archive is never extracted: members are copied one
by one to names that this program makes, so that a member's name, type and permissions mean nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Final, Protocol, Self

from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.exchange import manifest
from job_orchestration.exchange.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.exchange.manifest import Manifest

_CHUNK: Final = 1 << 20
_MOST_RATIO: Final = 500
"""An archive that becomes so many times larger is refused …"""
_HARMLESS: Final = 1 << 30
"""… unless it has no more bytes than this."""
_SPARE: Final = 0.95
"""The part of the free space that an import may fill."""


class DamagedExportError(UsageError):
    """An export is not what an export is."""


class _Opener(Protocol):
    @property
    def size(self) -> int | None:
        """Bytes of the archive; `None` for a folder."""

    def open(self, path: str) -> IO[bytes]:
        """Open a plain file."""


class Source:
    """An export that is open for reading.

    Args:
        path: a folder or an archive.

    Raises:
        DamagedExportError: if it is none.
        OSError: if it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._stack = ExitStack()
        self._opener: _Opener = (
            _Folder(path) if os.path.isdir(path) else self._stack.enter_context(_archive(path))
        )
        self.manifest: Manifest = self._manifest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _manifest(self) -> Manifest:
        with self._reading(manifest.NAME) as file:
            data = file.read(manifest.LARGEST + 1)
        if len(data) > manifest.LARGEST:
            raise self._damaged("its list of files is too large")
        try:
            found = manifest.read(data)
        except ManifestError as error:
            raise self._damaged(str(error)) from None
        if fault := manifest.fault_of_paths(found):
            raise self._damaged(fault)
        return found

    def insist_on_space(self, folder: str) -> None:
        """Raise an error if all files together cannot be meant, or do not fit on a disk."""
        whole = sum(file.bytes for file in self.manifest.files.values())
        packed = self._opener.size
        if packed is not None and whole > max(_MOST_RATIO * packed, _HARMLESS):
            raise self._damaged(f"its {packed} bytes would become {whole}")
        disk = os.statvfs(folder)
        if whole > _SPARE * disk.f_bavail * disk.f_frsize:
            raise UsageError(f"There is no space for the {whole} bytes of this export", "Make room first")

    def copy(self, path: str, target: str) -> None:
        """Copy a listed file to a new one.

        Raises:
            DamagedExportError: if it is not what the list says.
        """
        wanted = self.manifest.files[path]
        digest, left = hashlib.sha256(), wanted.bytes
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with self._reading(path) as file, os.fdopen(descriptor, "wb") as copy:
            while chunk := file.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise self._damaged(f"{path} is larger than its list says")
                digest.update(chunk)
                copy.write(chunk)
        if left or digest.hexdigest() != wanted.sha256:
            raise self._damaged(f"{path} is not what its list says")

    @contextmanager
    def _reading(self, path: str) -> Iterator[IO[bytes]]:
        try:
            with self._opener.open(path) as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise self._damaged(f"{path} cannot be read ({error})") from None
        except (KeyError, FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise self._damaged(f"it has no file {path}") from None

    def _damaged(self, why: str) -> DamagedExportError:
        what = f"{escaped(self.path)} is no export that can be imported: {escaped(why)}"
        return DamagedExportError(what, "Export the runs again")


class _Folder:
    """The files below a folder."""

    size: int | None = None

    def __init__(self, path: str) -> None:
        self._path = path

    def open(self, path: str) -> IO[bytes]:
        """Open a file; no part of its path may be a link."""
        *folders, name = path.split("/")
        step = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        here = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                below = os.open(folder, step, dir_fd=here)
                os.close(here)
                here = below
            found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
        except OSError as error:
            raise FileNotFoundError(error.errno, error.strerror, path) from None
        finally:
            os.close(here)
        if not stat.S_ISREG(os.fstat(found).st_mode):
            os.close(found)
            raise FileNotFoundError(path)
        return os.fdopen(found, "rb")


class _Archive:
    """The members of a ZIP archive."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive = archive
        self.size: int | None = size

    def open(self, path: str) -> IO[bytes]:
        """Open a member."""
        return self._archive.open(path)


@contextmanager
def _archive(path: str) -> Iterator[_Archive]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield _Archive(archive, os.path.getsize(path))
    except zipfile.BadZipFile as error:
        what = f"{escaped(path)} is neither a folder nor a ZIP archive ({escaped(str(error))})"
        raise DamagedExportError(what, "Name what `export --to` wrote") from None
