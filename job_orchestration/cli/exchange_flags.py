"""Arguments of `export` and `import`."""

from __future__ import annotations

from job_orchestration.cli.flags import Argument

TO = Argument(
    ("--to",),
    {
        "metavar": "DIR|ZIP",
        "required": True,
        "help": "a new folder, or a new archive if it ends in .zip",
    },
)
RO_CRATE = Argument(
    ("--ro-crate",),
    {"action": "store_true", "help": "add the metadata of an RO-Crate (extra [rocrate])"},
)
PATH = Argument(("path",), {"metavar": "DIR|ZIP", "help": "what export wrote"})
