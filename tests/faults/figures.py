"""What a fault test measured, for people and for the report of the long suite."""

from __future__ import annotations

import json
import os


def figure(part: str, what: str, value: object) -> None:
    """Print a figure; when the long suite runs, it is kept for ``docs/reliability.md`` as well.

    Args:
        part: the part of the suite, such as ``F4``.
        what: what was measured, a few words.
        value: the figure as it was seen.
    """
    print(f"{part}: {what}: {value}")
    kept = os.environ.get("SOAK_FIGURES")
    if kept:
        with open(kept, "a", encoding="utf-8") as file:
            file.write(json.dumps({"part": part, "what": what, "value": value}) + "\n")
