"""The code plan of a run: which snapshot its fork server imports, and which modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_orchestration.code.task_importer import CodePlan, modules_named
from job_orchestration.runs.state import TaskStatus

if TYPE_CHECKING:
    from job_orchestration.code.snapshots import CodeStore
    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace


def plan_of(workspace: Workspace, store: CodeStore, state: RunState) -> CodePlan:
    """Return what is imported for a run; the snapshot is made if it is not there yet.

    The module of a task that finished in another commit need not exist in the present one.

    Raises:
        CodeError: if the run's commit is not pinned, or its recorded packages cannot be installed.
    """
    code, is_observed = state.code, state.values.get("reuse") is True
    present = code.commit if code else None
    modules = modules_named(
        t.method for t in state.tasks if t.status is not TaskStatus.FINISHED or t.commit in {None, present}
    )
    interpreter = ""
    if state.own_environment is not None:
        from job_orchestration.executor import recorded_environments

        interpreter = recorded_environments.python_of(workspace, state.own_environment)
    if code is None:
        return CodePlan(
            modules=modules,
            fallback=workspace.root,
            imports=workspace.imports,
            is_observed=is_observed,
            interpreter=interpreter,
        )
    snapshot = str(store.snapshot(code.commit))
    return CodePlan(
        *(snapshot, code.folder, code.work_tree, modules),
        bytecode=workspace.bytecode,
        imports=workspace.imports,
        is_observed=is_observed,
        interpreter=interpreter,
    )
