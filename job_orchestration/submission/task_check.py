"""The third check of a batch: import the tasks and call their ``validate`` in a fork server."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Final

from job_orchestration.config.settings import parse_duration
from job_orchestration.diagnostics import durations
from job_orchestration.diagnostics.errors import ForkServerError
from job_orchestration.diagnostics.problems import Severity, escaped, named
from job_orchestration.executor import validation_client
from job_orchestration.submission.candidate import guarded
from job_orchestration.submission.validation_lanes import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.code.task_importer import CodePlan
    from job_orchestration.config.config import Json
    from job_orchestration.submission.candidate import Candidate
    from job_orchestration.submission.validation_lanes import ValidationLanes
    from job_orchestration.workspace.layout import Workspace

LIMIT: Final = "validationTimeout"
"""The key that sets how long imports and the validation of one config may take."""


def check(
    workspace: Workspace,
    lanes: ValidationLanes,
    candidates: Sequence[Candidate],
    *,
    alone: bool = True,
    may_be_slow: bool = False,
) -> None:
    """Note the problems that the tasks report; one fork server answers for all configs of a commit.

    Args:
        workspace: the workspace.
        lanes: ask the tasks of several commits side by side.
        candidates: those without code are not asked.
        alone: whether no other configs wait for these.
        may_be_slow: whether to mark the candidates of commits that take long as slow while others wait. They
            are checked again, and get the answers of what goes on meanwhile.
    """
    groups: dict[CodePlan, list[int]] = {}
    for number, candidate in enumerate(candidates):
        if (
            candidate.plan is not None
            and not candidate.there
            and any(t.method for t in candidate.checked.tasks)
        ):
            groups.setdefault(candidate.plan, []).append(number)
    work: list[tuple[Job, dict[int, Candidate]]] = []
    for plan, numbers in groups.items():
        asked = {n: candidates[n] for n in numbers}
        guarded(asked.values(), lambda p=plan, a=asked: work.append((_job_of(workspace, p, a), a)))  # type: ignore[misc]
    if work:
        lanes.run([job for job, _ in work], alone=alone, may_be_slow=may_be_slow)
    for job, asked in work:
        guarded(asked.values(), functools.partial(_note_answers, job, asked))


def limit_of(configs: Iterable[Mapping[str, Json]]) -> float:
    """Return the seconds that the imports of configs, and the validation of one of them, may take."""
    values = (values.get(LIMIT) for values in configs)
    return max((parse_duration(v) or 0.0 for v in values), default=0.0) or validation_client.SILENCE_LIMIT


def _job_of(workspace: Workspace, plan: CodePlan, asked: Mapping[int, Candidate]) -> Job:
    questions = [_question(workspace, n, candidate) for n, candidate in asked.items()]
    limit = limit_of(candidate.checked.values for candidate in asked.values())
    files = named(dict.fromkeys(escaped(candidate.drop.filename) for candidate in asked.values()))
    folder = os.path.normpath(os.path.join(plan.work_tree, plan.folder or "")) if plan.work_tree else ""
    where = escaped(folder or ", ".join(plan.modules))
    most = durations.text_of(limit)
    sentence = f"Waiting for the tasks of {where} to be imported and validated, {most} at most: {files}"
    return Job(plan, questions, limit, sentence)


def _note_answers(job: Job, asked: Mapping[int, Candidate]) -> None:
    if not job.is_done:
        for candidate in asked.values():
            candidate.is_slow = True
    elif isinstance(error := job.error, ForkServerError):
        for candidate in asked.values():
            candidate.add(error.what.splitlines()[0], error.todo, _key_of(job.plan, candidate, error))
    elif error is not None:
        raise error
    else:
        for n, candidate in asked.items():
            for problem in job.answers[n]:
                guarded([candidate], functools.partial(_note, candidate, problem))


def _key_of(plan: CodePlan, candidate: Candidate, error: ForkServerError) -> str:
    """The key that names the code which cannot be imported."""
    for index, task in enumerate(candidate.checked.tasks):
        module = task.method.rpartition(":")[0]
        parents = (module.rsplit(".", depth)[0] for depth in range(module.count(".") + 1))
        if module and any(f"No module named '{name}'" in error.what for name in parents):
            return f"tasks[{index}].method"
    return "pathToTasks" if plan.snapshot else "tasks"


def _question(workspace: Workspace, number: int, candidate: Candidate) -> validation_client.Question:
    values = {**candidate.checked.values, "outputDir": workspace.run_folder(candidate.run)}
    tasks = tuple(t.merged_with({}) for t in candidate.checked.tasks if t.method)
    return validation_client.Question(number, values, tasks, ask=candidate.config is not None)


def _note(candidate: Candidate, problem: validation_client.TaskFault) -> None:
    specs = [(i, t) for i, t in enumerate(candidate.checked.tasks) if t.method]
    if problem.task < 0:
        candidate.add(problem.what, key="tasks")
        return
    index, spec = specs[problem.task]
    own = problem.key == "method" or problem.key in spec.parameters
    place = f"tasks[{index}]"
    key = f"{place}.{problem.key}" if own else problem.key or place
    what = problem.what.removeprefix(f"{problem.key}: ") if problem.key else problem.what
    if problem.leaves_out and candidate.trial is not None and candidate.order is None:
        candidate.left_out = candidate.left_out or what
        return
    severity = Severity.WARNING if problem.is_warning else Severity.ERROR
    candidate.add(f"{spec.id}: {what}", key=key, severity=severity)
