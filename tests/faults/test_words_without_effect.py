"""Keys that look as if they did something and do nothing: `check` and `ready` name each, and what was meant.

A key that the package does not know belongs to the tasks, so such a config is queued all the same.
"""

from __future__ import annotations

import re

import pytest

from job_orchestration.workspace.layout import DEFAULTS

TOP = "this does nothing, only the tasks get it"
LATER = f"{TOP}; a later version will give it a meaning. Choose another name for a parameter."
ENTRY = "this does nothing in the entry of a task, only the task gets it"
AT_TOP = f"{ENTRY}. Write it at the top of the config, for the whole run."
UNKNOWN = "this is not a known key, so only the tasks get it."
OF_ENTRY = "this is not a known key, so only the task gets it."

AS_IT_STANDS = (
    "'{}' is not replaced, the tasks get it as it stands. "
    "Write the value itself; only notify and callbackUrl know variables of the environment."
)

AT_THE_TOP = {
    "needs: [prepare]": f"needs: {TOP}. Did you mean 'after'?",
    "depends_on: prepare": f"depends_on: {TOP}. Did you mean 'after'?",
    "when: x > 1": f"when: {TOP}. There are no conditions: let the task decide in run().",
    "if: x > 1": f"if: {TOP}. There are no conditions: let the task decide in run().",
    "matrix: {a: [1, 2]}": f"matrix: {TOP}. Did you mean 'sweep'?",
    "data: '${HOME}/data'": f"data: {AS_IT_STANDS.format('${HOME}')}",
    "data: {paths: [x, 'a-${train.lr}']}": f"data.paths[1]: {AS_IT_STANDS.format('${train.lr}')}",
    "foreach: [1, 2]": f"foreach: {TOP}. Did you mean 'sweep'?",
    "max_retries: 2": f"max_retries: {TOP}. Did you mean 'maxAttempts'?",
    "key: abc": f"key: {LATER}",
    "maxAttempt: 2": f"maxAttempt: {UNKNOWN} Did you mean 'maxAttempts'?",
    "resources: {gpu: 1}": (
        "resources.gpu: only workers with --resources gpu=N have this, and the run waits for one. "
        "Did you mean 'gpus'?"
    ),
    "time_out: 5m": f"time_out: {UNKNOWN} Did you mean 'timeout'?",
}
IN_AN_ENTRY = {
    "needs: [prepare]": f"needs: {ENTRY}. Tasks run in the order of the list; take it out.",
    "after: [prepare]": f"after: {ENTRY}. Tasks run in the order of the list; take it out.",
    "when: x > 1": f"when: {ENTRY}. There are no conditions: let the task decide in run().",
    "memoryLimit: 8G": f"memoryLimit: {AT_TOP}",
    "maxAttempts: 5": f"maxAttempts: {AT_TOP}",
    "resources: {gpus: 1}": f"resources: {AT_TOP}",
    "timout: 5m": f"timout: {OF_ENTRY} Did you mean 'timeout'?",
    "retry_delay: 5m": f"retry_delay: {OF_ENTRY} Did you mean 'retryDelay', at the top of the config?",
}
SWEEPS = {
    "grid: {layres: [1, 2]}": "grid.layres: the config has no 'layres'. Did you mean 'layers'?",
    "grid: {train.lrr: [1, 2]}": "grid.train.lrr: the config has no 'train.lrr'. Did you mean 'train.lr'?",
    "grid: {train.layrs: [1]}": "grid.train.layrs: the config has no 'train.layrs'. Did you mean 'layers'?",
    "zip: {lrr: [1, 2]}": "zip.lrr: the config has no 'lrr'. Did you mean 'train.lr'?",
    "random: {n: 2, Layers: {int: [1, 9]}}": (
        "random.Layers: the config has no 'Layers'. Did you mean 'layers'?"
    ),
    "grid: {lr: [1, 2]}": (
        "grid.lr: train has a 'lr' of its own, which this does not change. Write train.lr if that is meant."
    ),
    "search: {method: grid, metric: train.x, space: {layer: [1, 2]}}": (
        "search.space.layer: the config has no 'layer'. Did you mean 'layers'?"
    ),
}
FINE = [
    (
        "resources: {cpus: 1, gpus: 1, memory: 1M, licences: 1}\nneeded: 2\nimages: 3\nkeys: [1]\ninput: x\n",
        "",
        "",
    ),
    ("notify: {command: [echo, '${HOME}']}\nprompt: 'a {{ name }} for $5 and {x}'\n", "", ""),
    ("", ", seed: 4, timeout: 5m, epochs: 3, layers: 2", ""),
    ("", "", "grid: {layers: [1, 2], train.lr: [1, 2], depth: [1, 2], train.width: [1, 2], seed: [1, 2]}"),
    ("alpha1: 1\n", "", "grid: {alpha2: [1, 2]}"),
]


def config(path, name, top="", entry="", sweep=""):
    block = f"sweep:\n  {sweep}\n" if sweep else ""
    tasks = f"- {{id: first, method: Quick}}\n- {{id: train, method: Quick, lr: 1{entry}}}\n"
    return f"pathToTasks: {path}\noutputDir: {name}\nlayers: 1\n{top}tasks:\n{tasks}{block}"


@pytest.mark.slow
def test_each_is_named_with_what_was_meant_and_the_config_is_queued(cli, drop, repository, workspace):
    path = repository()
    expected = {}
    for number, (line, sentence) in enumerate(AT_THE_TOP.items()):
        name = f"top{number}"
        drop(name, config(path, name, top=f"{line}\n"))
        expected[name] = f": warning: {sentence}"
    for number, (line, sentence) in enumerate(IN_AN_ENTRY.items()):
        name = f"entry{number}"
        drop(name, config(path, name, entry=f", {line}"))
        expected[name] = f"6:37: warning: tasks[1].{sentence}"
    for number, (sweep, sentence) in enumerate(SWEEPS.items()):
        name = f"sweep{number}"
        drop(name, config(path, name, sweep=sweep))
        expected[name] = f"warning: sweep.{sentence}"
    for number, (top, entry, sweep) in enumerate(FINE):
        drop(f"fine{number}", config(path, f"fine{number}", top, entry, sweep))
    (workspace / DEFAULTS).write_text(
        "graceTime: 5s\nmaxAttempt: 2\nneeds: [a]\ndashboardUrl: http://x/{run}\n"
    )

    checked, readied = cli("check").stdout, cli("ready").stdout
    for said in (checked, readied):
        warnings = [line for line in said.splitlines() if "warning:" in line]
        for name, sentence in expected.items():
            of_it = [line for line in warnings if line.startswith(f"{name}.yaml:")]
            assert len(of_it) == 1, (name, of_it)
            assert of_it[0].endswith(sentence), name
        assert [line for line in warnings if line.startswith(DEFAULTS)] == [
            f"workspace.yaml:2:1: warning: maxAttempt: {UNKNOWN} Did you mean 'maxAttempts'?",
            f"workspace.yaml:3:1: warning: needs: {TOP}. Did you mean 'after'?",
        ]
        assert len(warnings) == len(expected) + 2, "\n".join(warnings)
    for name in (*expected, *(f"fine{number}" for number in range(len(FINE)))):
        assert re.search(rf"^{name}\.yaml: queued ", readied, re.MULTILINE), name
    assert "warning  workspace" in re.sub(" +", "  ", cli("doctor", check=None).stdout)
