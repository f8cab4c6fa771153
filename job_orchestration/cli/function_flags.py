"""Arguments of the commands that run plain functions."""

from __future__ import annotations

from typing import Final

from job_orchestration.cli import flag_values
from job_orchestration.cli.flags import Argument

FUNCTION = Argument(
    ("function",),
    {
        "metavar": "FUNCTION",
        "help": "package.module.function: in this folder, in a git work tree, or else installed; of a module"
        " alone the function `task`",
    },
)
CALLED_WITH = Argument(
    ("words",),
    {
        "metavar": "VALUE",
        "nargs": "*",
        "type": flag_values.argument_of_function,
        "help": "its arguments, read as YAML; NAME=VALUE is a keyword argument",
    },
)
ARGS_LIST = Argument(
    ("--args-list",),
    {
        "metavar": "FILE",
        "help": "call it once for each element of a list in this file (YAML, JSON or NDJSON)",
    },
)
PARALLEL = Argument(
    ("--parallel",),
    {
        "metavar": "N",
        "type": flag_values.processes,
        "help": "run this many elements at a time; auto: one for each CPU",
    },
)
UNCOMMITTED = Argument(
    ("--uncommitted",),
    {"action": "store_true", "help": "capture uncommitted changes instead of refusing them"},
)
DEV = Argument(
    ("--dev",), {"metavar": "BOOLEAN", "type": flag_values.boolean, "help": "true means --here (DL jobs)"}
)
_WITHOUT_EFFECT: Final = ("noisy", "print_logs", "cpu_job", "cpu_image", "gpu_image")
OF_PLATFORM = tuple(
    Argument((f"--{name}",), {"metavar": "VALUE", "help": "of DL jobs; has no effect, and says so"})
    for name in _WITHOUT_EFFECT
)
"""Options of DL jobs that were meant for its platform and its printing."""
NUMBER = Argument(
    ("number",), {"metavar": "N", "type": flag_values.positive, "help": "how often the function is called"}
)
DEFAULTS = Argument(
    ("values",),
    {
        "metavar": "KEY=VALUE",
        "nargs": "*",
        "type": flag_values.assignment,
        "help": "set this default; the value is YAML",
    },
)
FORCE = Argument(("--force",), {"action": "store_true", "help": "replace a value that is there already"})
