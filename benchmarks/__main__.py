"""`make bench`: measure what has not been measured yet, print the figures, and put them into the docs.

``make bench PART=peers`` does one part: ``peers`` (side by side, all sizes), ``calls`` (system calls),
or a figure: ``profile long_config two_workers ready status start latency long_queue resume geneplexus
preload``; ``page`` only prints. ``AGAIN=1`` measures again what was asked for. ``ONLY=doit,jug
SIZES=10,100 WHERE=tmpfs WORKERS=1 ROUNDS=1 LIMIT=60`` make ``peers`` smaller, ``RUNS=20`` ``preload``. What
was measured is kept in ``.bench`` (or
``$BENCH_CACHE``), so an interrupted bench goes on where it was.
"""

from __future__ import annotations

import os

from benchmarks import documents, side_by_side
from benchmarks.figures import figures, measured


def main() -> int:
    """Measure and print; 1 when something could not be measured."""
    known = ["start", *(name for name in figures() if name != "start"), "calls", "peers"]
    asked = os.environ.get("PART", "").split()
    again = bool(os.environ.get("AGAIN"))
    failed = []
    for part in asked or known:
        if part == "page":
            continue
        if part not in known:
            print(f"There is no part {part}. Name some of: {' '.join(known)}")
            return 2
        try:
            if part in {"peers", "calls"}:
                (side_by_side.run if part == "peers" else side_by_side.count_calls)(again=again)
            else:
                measured(part, again=again)
        except (OSError, RuntimeError) as error:
            print(f"== {part}: could not be measured: {error}")
            failed.append(part)
    print(documents.write())
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
