"""`serve` on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from job_orchestration.cli import output
from job_orchestration.diagnostics.errors import UsageError

if TYPE_CHECKING:
    from argparse import Namespace

_PORT: Final = 8000
_FUNCTIONS_PORT: Final = 7071
"""Where the first web application's functions were called."""


def serve(arguments: Namespace) -> int:
    """Answer requests until it is stopped."""
    try:
        from job_orchestration.web import server
    except ImportError as error:
        todo = "Install the extra: pip install 'job-orchestration[web]'"
        raise UsageError(f"The HTTP API needs {error.name}, which is not installed", todo) from None
    workspace = output.prepared(arguments)
    default = _FUNCTIONS_PORT if arguments.functions else _PORT
    port = default if arguments.port is None else arguments.port
    options = server.ServerOptions(arguments.bind, port, tuple(arguments.names), arguments.functions)
    server.serve(workspace, options, output.say)
    return 0
