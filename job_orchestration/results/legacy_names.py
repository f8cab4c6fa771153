"""Names of the files in a job folder of GenePlexus's first web application, and the slug of a job's name.

A folder of the job ``8e3jt5kz`` has ``8e3jt5kz_geneset.txt``, ``8e3jt5kz_df_probs.tsv`` and so on. One slug
names the folder and all its files. Pure.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

TABLES: Final = ("df_probs", "df_GO", "df_dis", "df_convert_out_subset", "df_edgelist")
"""The tables, in the order in which the web application read them."""

_ENDINGS: Final = {
    "geneset": ".txt",
    "job_config": ".json",
    "job_info": ".json",
    "jobstatus": "",
    "graph": ".json",
    "results": ".txt",
    **dict.fromkeys(TABLES, ".tsv"),
}
KINDS: Final = tuple(_ENDINGS)
"""What a job folder may hold, by the names without job and ending."""

MOST_CHARACTERS: Final = 63
_DIGEST: Final = 8
_OTHER: Final = re.compile(r"[^a-z0-9]+")


def job_name(text: str) -> str:
    """Return a name as a slug of letters a to z, digits and hyphens, at most 63 long; a slug stays as it is.

    Two long names that begin alike have different slugs.

    Raises:
        ValueError: nothing of the name is left.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    slug = _OTHER.sub("-", plain.replace("'", "")).strip("-")
    if not slug:
        raise ValueError(f"{text!r} has no letter from a to z and no digit")
    if len(slug) <= MOST_CHARACTERS:
        return slug
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{slug[: MOST_CHARACTERS - _DIGEST - 1].rstrip('-')}-{digest}"


def file_name(job: str, kind: str) -> str:
    """Return the name of a job's file, such as ``8e3jt5kz_graph.json``.

    Args:
        job: the slug of the job's name.
        kind: one of `KINDS`.
    """
    return f"{job}_{kind}{_ENDINGS[kind]}"


def archive_name(job: str) -> str:
    """Return the name of a job's archive."""
    return f"{job}.zip"
