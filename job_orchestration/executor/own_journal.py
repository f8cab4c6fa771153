"""Guard the journal file of an attempt in its child, where the code of tasks has run.

The child holds the lines of its attempt in memory. After each task one call compares the file with them: a
task may have emptied or changed it, or closed the descriptor and opened a file of its own under its number.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from job_orchestration.runs.journal import Writer

# A task may replace the functions of the module.
_fstat: Final = os.fstat
_pread: Final = os.pread
_ftruncate: Final = os.ftruncate
_write: Final = os.write


class ForeignFileError(Exception):
    """The descriptor of the journal was closed, or is another file's."""

    def __init__(self) -> None:
        super().__init__("The task closed files that are not its own (os.closerange?)")


class OwnJournal:
    """The journal file of an attempt as its child has written it.

    Args:
        descriptor: of the file, open for reading and appending.
        writer: with which the child writes it.

    Raises:
        OSError: the file cannot be read.
    """

    def __init__(self, descriptor: int, writer: Writer) -> None:
        self._descriptor = descriptor
        self._writer = writer
        status = _fstat(descriptor)
        self._identity = status.st_dev, status.st_ino
        self._has_name = status.st_nlink > 0
        self._before = _pread(descriptor, status.st_size, 0)

    def mend(self) -> bool:
        """Write the file anew if it was changed.

        Returns:
            Whether it was changed, or its name was removed since the last call.

        Raises:
            ForeignFileError: the descriptor is not the journal's any more.
            OSError: the file could not be written.
        """
        try:
            status = _fstat(self._descriptor)
        except OSError:
            raise ForeignFileError from None
        if (status.st_dev, status.st_ino) != self._identity:
            raise ForeignFileError
        if status.st_size != len(self._before) + len(self._writer.known):
            _ftruncate(self._descriptor, 0)
            data = self._before + self._writer.known
            while data:
                data = data[_write(self._descriptor, data) :]
            return True
        was_there, self._has_name = self._has_name, status.st_nlink > 0
        return was_there and not self._has_name
