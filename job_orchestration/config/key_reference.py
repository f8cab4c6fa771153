"""What each key of a config and of ``workspace.yaml`` means, for people: one table for all pages and editors.

The JSON Schema takes its descriptions from here, and ``docs/make_reference.py`` writes ``docs/config.md``
from it. What a value may be is decided by `settings`, `validation`, `notification_settings` and the package
``search``; tests compare the defaults, and check each example. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Key(NamedTuple):
    """One key."""

    kind: str
    """The values that it takes, in words."""
    default: str
    """Its value when it is left out, as in YAML; a word in brackets if that is no value."""
    meaning: str
    """Whole sentences."""
    example: str = ""
    """A piece of a config, in YAML."""
    used_by: str = ""
    """The commands that read it."""


READY: Final = "`check`, `ready`, `watch`, `up`"
WORK: Final = "`work`, `up`"
BOTH: Final = f"{READY}, `work`"
REQUIRED: Final = "(required)"
NONE: Final = "(none)"

_TIME: Final = "time"
_SIZE: Final = "size"

RUN: Final[Mapping[str, Key]] = {
    "tasks": Key(
        "list of tasks",
        REQUIRED,
        "The tasks of the run, in order. An entry has `id`, `method` and parameters.",
        "tasks:\n  - {id: load, method: Load}\n  - {id: train, method: Train, epochs: 5}",
        BOTH,
    ),
    "outputDir": Key(
        "path inside `Output/`",
        REQUIRED,
        "The run's folder below Output/, and the name of the run. It may hold {date}, {time}, {name} "
        "(of the file, without its ending) and {commit}; of a sweep or search it is the folder of all"
        " trials.",
        'outputDir: "{date}/{name}_{time}"',
        READY,
    ),
    "pathToTasks": Key(
        "path",
        NONE,
        "The folder of Tasks.py, in a git work tree. A relative path begins at the workspace, not at "
        "the config or the current folder; ~ is the home folder, and variables such as $HOME are not "
        "replaced. Not needed if each method is written package.module:Name.",
        "pathToTasks: /home/you/your-project/experiments",
        f"{READY}, `retry --commit`",
    ),
    "githubRepository": Key(
        "text",
        NONE,
        "Address of the code's repository. It is recorded and not used.",
        "githubRepository: https://github.com/you/your-project.git",
        "(none)",
    ),
    "name": Key(
        "text",
        NONE,
        "A label of yours; the tasks get it, and `results` has it as a column. {name} in outputDir is"
        " the name of the file.",
        "name: a first try",
        "`results`, `--filter`",
    ),
    "tags": Key(
        "text or list of texts",
        NONE,
        "Labels of yours, to select runs by. Trials that differ in nothing else are the same trial.",
        "tags: [baseline, small]",
        "`results`, `--filter`",
    ),
}
"""What runs, and where its results go."""

FAILURES: Final[Mapping[str, Key]] = {
    "maxAttempts": Key(
        "whole number from 1 up",
        "3",
        "Number of tries of each task before the run gives up.",
        "maxAttempts: 5",
        WORK,
    ),
    "retryDelay": Key(
        _TIME,
        "0s",
        "The time between a failed try and the next one. The worker does something else meanwhile.",
        "retryDelay: 5m",
        WORK,
    ),
    "maxInterruptions": Key(
        "whole number from 0 up",
        "20",
        "Number of interruptions (power cut, kill -9, preemption) since the last finished task that a"
        " run may have; one more is a crash loop, and the run gives up. An interruption is no failed "
        "try.",
        "maxInterruptions: 3",
        WORK,
    ),
}
LIMITS: Final[Mapping[str, Key]] = {
    "timeout": Key(
        f"{_TIME} above 0",
        "null",
        "Longest time of a run, all tasks and tries together; in a task's own entry: of each of its tries.",
        "timeout: 4h",
        WORK,
    ),
    "stallTimeout": Key(
        f"{_TIME} above 0",
        "null",
        "Longest time that a task's interpreter may stand still (a deadlock, a hung library); then it"
        " is stopped, which is a failed try.",
        "stallTimeout: 10m",
        WORK,
    ),
    "validationTimeout": Key(
        f"{_TIME} above 0",
        "2m",
        "Longest time that the imports of the tasks may take before a run is queued, and its validate "
        "methods together as well; then the config is refused.",
        "validationTimeout: 10m",
        READY,
    ),
    "preloadKeep": Key(
        "whole number from 1 to 64",
        "1",
        "Number of sets of data loaded by `preload` that a worker keeps in memory at the same time.",
        "preloadKeep: 2",
        WORK,
    ),
    "memoryLimit": Key(
        _SIZE,
        "null",
        "Memory limit of a run, including the processes that it starts.",
        "memoryLimit: 8G",
        WORK,
    ),
    "graceTime": Key(
        _TIME,
        "30s",
        "Time that a task has to end after its worker is asked to stop, and that threads, files and "
        "exit functions have at the end of a task.",
        "graceTime: 2m",
        WORK,
    ),
    "logLimit": Key(
        _SIZE,
        "100M",
        "Largest size of log.log. Of a larger log the middle is dropped, and the log says so.",
        "logLimit: 1G",
        WORK,
    ),
}
EXECUTION: Final[Mapping[str, Key]] = {
    "isolation": Key(
        "`fork` or `spawn`",
        "fork",
        "fork: start from a process that has imported the tasks, in milliseconds. spawn: start a new "
        "Python for each attempt, for libraries that do not survive a fork.",
        "isolation: spawn",
        WORK,
    ),
    "seed": Key(
        "whole number from 0 to 4294967295",
        "null",
        "Seed of random, NumPy and PyTorch, set before each task; null draws a number and records it.",
        "seed: 1",
        BOTH,
    ),
    "reuse": Key(
        "true or false",
        "false",
        "true: a leading task whose code, parameters, inputs, seed, packages and earlier results are the"
        " same as in an earlier run takes its result and files from there. A run without a seed has the"
        " seed 0 then.",
        "reuse: true",
        BOTH,
    ),
    "metricDirections": Key(
        "mapping of figures to maximize or minimize",
        "{}",
        "Which way is better for figures that the tasks return, by their columns in results or the last "
        "parts of these: for `results --best`, for better and worse in `diff`, and for the ends of `bisect`.",
        "metricDirections: {loss: minimize, train.accuracy: maximize}",
        f"{READY}, `results`, `diff`, `bisect`",
    ),
}
QUEUE: Final[Mapping[str, Key]] = {
    "priority": Key(
        "whole number",
        "0",
        "Of the runs that wait, those with a higher number go first, then the oldest.",
        "priority: 5",
        WORK,
    ),
    "after": Key(
        "name or list of names",
        "[]",
        "The configs or runs that must have completed before this run begins; the name of a sweep "
        "means all its trials.",
        "after: [prepare]",
        BOTH,
    ),
    "inputs": Key(
        "path or list of paths and globs",
        "[]",
        "The files that the tasks read, and folders of them: `ready` refuses a missing one; size, time and "
        "sha256 of each are recorded when the run begins and compared after each task. A relative path "
        "begins at the committed files of pathToTasks, where the tasks stand.",
        'inputs: [/data/genes.tsv, "/data/sets/*.txt"]',
        BOTH,
    ),
    "resources": Key(
        "mapping of names to amounts",
        "{}",
        "What the run takes of its worker's machine: cpus, memory (a size), gpus, and names that "
        "`work --resources` gives.",
        "resources: {gpus: 1, cpus: 4, memory: 8G}",
        WORK,
    ),
}
CARE: Final[Mapping[str, Key]] = {
    "overwriteOutputFine": Key(
        "true or false",
        "false",
        "true: a finished run of the same outputDir moves to Misc/trash first. Waiting and running "
        "runs are never touched.",
        "overwriteOutputFine: true",
        READY,
    ),
    "UNSAFE_ignoreDirtyCheck": Key(
        "true or false",
        "false",
        "true: uncommitted changes are captured instead of refused, as a commit that only the "
        "workspace has. UNSAFE, because your repository does not have this code: another clone cannot"
        " repeat the run.",
        "UNSAFE_ignoreDirtyCheck: true",
        f"{READY}, `retry --commit worktree`",
    ),
    "ignoredFiles": Key(
        "pattern or list of patterns",
        "[]",
        "Patterns of untracked files that never count as uncommitted, as in a .gitignore, beside what"
        " editors and systems leave behind. In workspace.yaml they are also passed over in "
        "ConfigSources.",
        'ignoredFiles: ["*.bak", "scratch/"]',
        READY,
    ),
}
MANY: Final[Mapping[str, Key]] = {
    "sweep": Key(
        "mapping",
        NONE,
        "Makes the config stand for many runs: one for each combination of parameters, or those that "
        "a search proposes. Not in workspace.yaml.",
        "sweep:\n  grid: {layers: [1, 2], train.lr: {log: [1e-4, 1e-1], n: 4}}",
        READY,
    ),
}
MESSAGES: Final[Mapping[str, Key]] = {
    "notify": Key(
        "recipient or list of recipients",
        NONE,
        "Recipients of messages about this run. In workspace.yaml: about all runs whose config has no"
        " notify. null in a config: no messages.",
        'notify:\n  - {command: [echo, "{title}"], on: [completed, gave_up]}',
        "`work`, `up`, `notify`",
    ),
    "callbackUrl": Key(
        "address of http or https",
        NONE,
        "An address that gets a JSON object by POST when the run is accepted, started, and has ended; "
        "{run} and {name} in it are replaced, and ${NAME} is a variable of the environment.",
        "callbackUrl: https://example.org/jobs/{name}",
        WORK,
    ),
    "callbackProgress": Key(
        "boolean",
        "false",
        "Also call callbackUrl when a task has reported progress, at most once in ten seconds.",
        "callbackProgress: true",
        WORK,
    ),
    "callbackPublicOnly": Key(
        "boolean",
        "false",
        "Call callbackUrl only at a public address, not in the machine's own network. Configs that came "
        "through `serve` get it, unless callbackHosts of workspace.yaml names the host.",
        "callbackPublicOnly: true",
        WORK,
    ),
    "notifyAddress": Key(
        "address of mail",
        NONE,
        "An address that gets mail when the run was accepted, has completed, or has failed. The server is "
        "that of mailServer in workspace.yaml.",
        "notifyAddress: you@example.org",
        WORK,
    ),
}
WORKSPACE_ONLY: Final[Mapping[str, Key]] = {
    "dashboardUrl": Key(
        "address",
        NONE,
        "A link to a run's page, for messages; {run} in it is replaced.",
        'dashboardUrl: "http://localhost:8000/runs/{run}"',
        "`work`, `up`",
    ),
    "cacheLimit": Key(
        _SIZE,
        "10G",
        "How large `Misc/cache`, where tasks keep what they have parsed, may be after `gc`.",
        "cacheLimit: 2G",
        "`gc`",
    ),
    "mailServer": Key(
        "address of smtp or smtps",
        NONE,
        "The server that sends mail to a config's notifyAddress: smtp (with STARTTLS if it is offered) or "
        "smtps, user:password@ if they are needed, host, port, and the sender. ${NAME} is a variable of the "
        "environment.",
        'mailServer: "smtp://mail.example.org:587?from=jobs@example.org"',
        "`work`, `up`",
    ),
    "allowedMethods": Key(
        "list of globs",
        "the tasks of this package",
        "The methods that configs that come through `serve` may name. A class of Tasks.py is looked for in "
        "pathToTasks of workspace.yaml, since such a config cannot name another.",
        'allowedMethods: ["job_orchestration.geneplexus:*", Train]',
        "`serve`",
    ),
    "callbackHosts": Key(
        "list of globs",
        NONE,
        "The hosts, with or without a port, that callbackUrl of such configs may name although they are "
        "not public.",
        'callbackHosts: ["127.0.0.1:5000", "*.lab.example.org"]',
        "`serve`",
    ),
}

SECTIONS: Final[Mapping[str, Mapping[str, Key]]] = {
    "What runs": RUN,
    "Failures": FAILURES,
    "Limits": LIMITS,
    "How a run is executed": EXECUTION,
    "The queue": QUEUE,
    "Care": CARE,
    "Many runs from one config": MANY,
    "Messages": MESSAGES,
}
"""The keys of a config, by the headings of the page."""
TOP: Final[Mapping[str, Key]] = {key: known for keys in SECTIONS.values() for key, known in keys.items()}

TASK: Final[Mapping[str, Key]] = {
    "id": Key(
        "text without / and ~, at most 100 characters",
        REQUIRED,
        "Names the task in the log, and the folder of what it saves. No two tasks of a config have the same.",
    ),
    "method": Key(
        "name",
        REQUIRED,
        "A class in Tasks.py, or package.module:Name of anything that can be imported. A plain function gets"
        " args (a list) and kwargs (a mapping).",
    ),
    "foreach": Key(
        "list, whole number, `${tasks.ID.result}` or path of an NDJSON file",
        NONE,
        "Runs the task once for each element, with a checkpoint for each. The task finds its element as"
        " element, and the keys of a mapping among its own. argsList means the same.",
    ),
    "parallel": Key(
        "whole number from 1 to 1024, or `auto`",
        "1",
        "With foreach: the number of elements that run at a time; auto: one for each CPU.",
    ),
    "timeout": Key(f"{_TIME} above 0", "null", "Longest time of each try of this task."),
}
"""The keys of an entry of ``tasks``; all others are the task's own parameters."""

RECIPIENT: Final[Mapping[str, Key]] = {
    "to": Key(
        "address or list of them",
        NONE,
        "An address of mail, chat or another service of Apprise, of the extra [notify].",
        'notify: {to: "mailto://you:${MAIL_PASSWORD}@example.org"}',
    ),
    "command": Key(
        "command, or list of a program and its arguments",
        NONE,
        "A program to run; {title}, {text} and their like in it are replaced.",
        'notify: {command: [notify-send, "{title}", "{text}"]}',
    ),
    "callback": Key(
        "address of http or https",
        NONE,
        "An address that gets a JSON object.",
        "notify: {callback: https://example.org/hook}",
    ),
    "on": Key(
        "event or list of events",
        "(completed, gave_up, stalled; in workspace.yaml: gave_up, queue_empty, stalled)",
        "The events to send: completed, failed, gave_up, stalled, and in workspace.yaml queue_empty.",
    ),
}
"""The keys of a recipient: one that names a notifier, and ``on``."""
