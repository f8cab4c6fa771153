"""Everything from Python: what notebooks and programs ask of a workspace and its runs.

It owns nothing on the disk: each method calls the command of the same name. Open `workspaces` first; its
`Workspace` is imported as ``from job_orchestration import Workspace``; only then is this package imported.
"""

from job_orchestration.api.run_lists import Runs
from job_orchestration.api.run_views import Run
from job_orchestration.api.workspaces import Workspace

__all__ = ["Run", "Runs", "Workspace"]
