"""Arguments of `geneplexus`."""

from __future__ import annotations

from job_orchestration.cli.flags import Argument

WHAT = Argument(("what",), {"choices": ("check", "download", "summary"), "help": "what to do"})
OPERANDS = Argument(
    ("operands",),
    {
        "metavar": "LIST|DIR|BATCH",
        "nargs": "*",
        "help": "check: files of genes; download: the folder for the data; summary: batches",
    },
)
DATA = Argument(("--data",), {"metavar": "DIR", "help": "check: the folder of the data; default: $DATA_PATH"})
SPECIES = Argument(
    ("--species",),
    {
        "metavar": "NAME",
        "action": "append",
        "help": "check: the species of the genes; download: of the data. Repeatable; default: Human",
    },
)
NETWORK = Argument(
    ("--network",),
    {
        "metavar": "NAME",
        "action": "append",
        "help": "check: only this network. Repeatable; default: all there",
    },
)
FROM = Argument(
    ("--from",), {"metavar": "URL", "dest": "source", "help": "download: another place with the same files"}
)
ONLY_TABLES = Argument(
    ("--tables",), {"action": "store_true", "help": "summary: write the tables, and draw no heat map"}
)
