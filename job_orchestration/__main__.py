"""``python -m job_orchestration``: the command line."""

from __future__ import annotations

import sys

from job_orchestration.cli.main import main

if __name__ == "__main__":
    sys.exit(main(as_module=True))
