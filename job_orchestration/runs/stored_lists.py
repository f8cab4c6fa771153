"""Values that many runs refer to by digest, each stored once: packages, environments, lists of inputs.

A file is named by the sha256 of its content, so it never changes, ``sha256sum`` checks it, and equal digests
mean equal values.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config import json_floats
from job_orchestration.workspace import durable, safe_reads

if TYPE_CHECKING:
    from job_orchestration.config.config import Json

_DIGEST: Final = re.compile("[0-9a-f]{64}")


def content_of(value: Json) -> bytes:
    """Return the content of the file of a value; equal values have equal contents."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    return f"{text}\n".encode("utf-8", "backslashreplace")


def digest_of(value: Json) -> str:
    """Return the digest of a value."""
    return hashlib.sha256(content_of(value)).hexdigest()


def write(folder: str, value: Json) -> str:
    """Store a value, if it is not there yet; return its digest.

    Raises:
        OSError: the disk refuses.
    """
    data = content_of(value)
    digest = hashlib.sha256(data).hexdigest()
    path = os.path.join(folder, f"{digest}.json")
    if not os.path.exists(path):
        durable.make_folder(folder)
        durable.replace(path, data)
    return digest


def read(folder: str, digest: object) -> Any:
    """Return the value of a digest; `None` if it is not there or cannot be read."""
    if isinstance(digest, str) and _DIGEST.fullmatch(digest):
        with suppress(OSError, ValueError):
            return json_floats.value_of(safe_reads.whole(os.path.join(folder, f"{digest}.json")))
    return None
