"""What each key of ``sweep`` and ``search`` means, for people; the other half of `key_reference`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from job_orchestration.config.key_reference import NONE, REQUIRED, Key

if TYPE_CHECKING:
    from collections.abc import Mapping

SWEEP: Final[Mapping[str, Key]] = {
    "grid": Key("mapping of parameters to lists", NONE, "Every combination of its lists."),
    "zip": Key(
        "mapping of parameters to lists",
        NONE,
        "Its lists side by side: the first of each, the second of each, …",
    ),
    "random": Key(
        "mapping of parameters to distributions", NONE, "Draws: n of them; with another seed (0) other ones."
    ),
    "exclude": Key("text", NONE, "Takes out the combinations for which the expression is true."),
    "search": Key(
        "mapping", NONE, "Proposes trials one after another, in view of earlier results. It stands alone."
    ),
}
RANDOM: Final[Mapping[str, Key]] = {
    "n": Key("whole number from 1 to 100000", REQUIRED, "Number of draws."),
    "seed": Key("whole number", "0", "Another seed draws other values."),
}
SEARCH: Final[Mapping[str, Key]] = {
    "method": Key(
        "`grid`, `random`, `tpe`, or the name of a sampler of another package",
        REQUIRED,
        "What proposes the trials; tpe is Optuna's estimator, of the extra [optuna].",
    ),
    "space": Key(
        "mapping of parameters to distributions", REQUIRED, "The parameters, and where their values lie."
    ),
    "metric": Key(
        "text",
        REQUIRED,
        "taskId.key of what a task returns, or taskId if that is the number itself.",
    ),
    "n": Key(
        "whole number from 1 to 100000",
        REQUIRED,
        "Largest number of trials. A grid may leave it out, and has all its combinations then.",
    ),
    "direction": Key(
        "`maximize` or `minimize`", "maximize", "Whether a larger or a smaller metric is better."
    ),
    "seed": Key("whole number", "0", "Another seed proposes other trials."),
    "parallel": Key(
        "whole number from 1 to 100000",
        "(4 for tpe, otherwise 32)",
        "Number of trials that wait or run at a time.",
    ),
    "prune": Key(
        "`median`",
        NONE,
        "A trial whose best metric so far is worse than the median of the others at the same step "
        "ends early.",
    ),
}
POINTS: Final[Mapping[str, Key]] = {
    "linear": Key(
        "[from, to], with n beside it",
        "",
        "n numbers at equal distances, both ends included.",
        "{linear: [0, 1], n: 5}",
    ),
    "log": Key(
        "[from, to], with n beside it", "", "The same, by equal factors.", "{log: [1e-4, 1e-1], n: 4}"
    ),
    "range": Key(
        "[from, to, step]",
        "",
        "From, to and step; the end is included if a step meets it.",
        "{range: [0, 10, 5]}",
    ),
}
DISTRIBUTIONS: Final[Mapping[str, Key]] = {
    "uniform": Key("[from, to]", "", "Any number between the two.", "{uniform: [0, 1]}"),
    "loguniform": Key(
        "[from, to], above 0",
        "",
        "The same, each order of magnitude equally likely.",
        "{loguniform: [1e-4, 1]}",
    ),
    "int": Key("[from, to]", "", "Any whole number from one to the other, both included.", "{int: [1, 10]}"),
    "choice": Key("list", "", "One of these values.", "{choice: [a, b]}"),
}
