"""The verbs of house-keeping: what is shown of the schemas, of what can go, and of what is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace


def schema(arguments: Namespace) -> int:
    """Print the JSON Schema of configs, or of the defaults; with ``--json`` or without."""
    from job_orchestration.rules import schema as schemas

    wanted = schemas.workspace_schema() if arguments.workspace_file else schemas.config_schema()
    print(json.dumps(wanted, indent=2))
    return 0
