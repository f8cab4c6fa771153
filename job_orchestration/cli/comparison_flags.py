"""Arguments of the commands that compare runs; see `flags`."""

from __future__ import annotations

from job_orchestration.cli.flags import Argument


def _number(text: str) -> float:
    import argparse
    from math import isfinite

    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not isfinite(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return found


COMPARED = Argument(
    ("runs",),
    {
        "metavar": "RUN",
        "nargs": "+",
        "help": "output folders, config names or globs; a single run is compared with its work tree of now",
    },
)
STAT = Argument(
    ("--stat",), {"action": "store_true", "help": "list the files that differ, without their lines"}
)
FULL = Argument(("--full",), {"action": "store_true", "help": "print all lines of all files and values"})
HTML = Argument(("--html",), {"action": "store_true", "help": "print one HTML page that needs no other file"})
CLONE = Argument(
    ("folder",),
    {
        "metavar": "DIR",
        "nargs": "?",
        "help": "an empty folder, or one that does not exist; default: RUN-code in the current folder",
    },
)
FILE = Argument(
    ("--file",),
    {"metavar": "PATH", "help": "make no clone: print this file as it ran"},
)
BISECTED = (
    Argument(("good",), {"metavar": "GOOD", "help": "a run in whose commit the metric is as it should be"}),
    Argument(("bad",), {"metavar": "BAD", "help": "a run in whose commit it is not; its config is rerun"}),
    Argument(
        ("--metric",),
        {"metavar": "NAME", "required": True, "help": "a column of results, such as train.loss or loss"},
    ),
    Argument(
        ("--at",),
        {"metavar": "VALUE", "type": _number, "help": "the limit between good and bad; default: half-way"},
    ),
    Argument(
        ("--higher",), {"action": "store_true", "help": "bad is whatever is higher than in the run GOOD"}
    ),
    Argument(("--lower",), {"action": "store_true", "help": "bad is whatever is lower than in the run GOOD"}),
    Argument(
        ("--here",), {"action": "store_true", "help": "if no worker is running, run one until it is done"}
    ),
    STAT,
    FULL,
)
