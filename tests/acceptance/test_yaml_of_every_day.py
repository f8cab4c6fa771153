"""Everyday YAML in a dropped config: aliases, merges, NaN and infinities, and words with two meanings."""

from __future__ import annotations

import json

import pytest

TASKS = """
    from job_orchestration import TaskBase


    class Tells(TaskBase):
        def __init__(self, config):
            self.config = config

        def validate(self):
            return [] if isinstance(self.config["limit"], float) else ["limit is no float"]

        def run(self):
            keys = ("limit", "worst", "lr", "layers", "id")
            return {"n": 1, "values": ", ".join(repr(self.config.get(key)) for key in keys)}
"""


def values_in(cli, run):
    tasks = json.loads(cli("show", run, "--json").stdout)["tasks"]
    return [task["result"]["values"] for task in tasks]


def test_aliases_merges_and_numbers_without_an_end_reach_the_tasks(cli, drop, repository, workspace):
    path = repository(TASKS)
    drop(
        "a",
        f"""\
pathToTasks: {path}
outputDir: a
limit: .inf
worst: .nan
defaults: &defaults {{method: Tells, lr: 1e-3, layers: &layers [1, -.inf]}}
tasks:
- {{<<: *defaults, id: one}}
- <<: *defaults
  id: two
  lr: 2
again: *layers
""",
    )
    assert "warning" not in cli("ready").stdout
    cli("work", "--until-idle")
    assert values_in(cli, "a") == ["inf, nan, 0.001, [1, -inf], 'one'", "inf, nan, 2, [1, -inf], 'two'"]
    for journal in (workspace / "Output" / "a" / "journal").iterdir():
        for line in journal.read_text().splitlines():
            json.loads(line, parse_constant=pytest.fail)
    values = json.loads((workspace / "Output" / "a" / "journal" / "000000.jsonl").read_text())["values"]
    assert values["worst"] == {"$float": "nan"}
    assert "worst: .nan\n" in (workspace / "Output" / "a" / "config.yaml").read_text()


@pytest.mark.slow
def test_a_sweep_over_infinities_has_a_run_for_each_and_every_json_stays_strict(
    cli, drop, repository, workspace
):
    path = repository(TASKS)
    config = f"""\
pathToTasks: {path}
outputDir: s
tasks:
- {{id: one, method: Tells}}
sweep:
  grid:
    limit: [1.0, .inf, .nan]
"""
    drop("s", config)
    checked = json.loads(cli("check", "--json").stdout, parse_constant=pytest.fail)
    assert [trial["parameters"]["limit"] for trial in checked[0]["trials"]] == [1.0, None, None]
    json.loads(cli("ready", "--json").stdout, parse_constant=pytest.fail)
    cli("work", "--until-idle")
    assert sorted(
        values_in(cli, f"s/limit={name}")[0].split(",")[0] for name in ("1.0", "Infinity", "NaN")
    ) == [
        "1.0",
        "inf",
        "nan",
    ]
    for command in (["status"], ["results"], ["show", "s/limit=NaN"]):
        json.loads(cli(*command, "--json").stdout, parse_constant=pytest.fail)
    provenance = workspace / "Output" / "s" / "limit=Infinity" / "provenance.json"
    assert json.loads(provenance.read_text())["parameters"] == {"limit": {"$float": "inf"}}
    drop("s", config)
    assert "3 of its 3 trials have runs already" in cli("ready").stdout


@pytest.mark.slow
def test_a_search_goes_through_infinities(cli, drop, repository):
    path = repository(TASKS)
    drop(
        "s",
        f"""\
pathToTasks: {path}
outputDir: s
tasks:
- {{id: one, method: Tells}}
sweep:
  search: {{method: grid, n: 2, metric: one.n, direction: maximize, space: {{limit: [1.0, .inf]}}}}
""",
    )
    cli("ready")
    cli("work", "--until-idle", check=None)
    assert values_in(cli, "s/0002,limit=Infinity")[0].startswith("inf")


def test_a_range_without_an_end_is_refused(cli, drop, repository):
    drop(
        "s",
        f"""\
pathToTasks: {repository(TASKS)}
outputDir: s
tasks: [{{id: one, method: Tells}}]
sweep:
  random: {{n: 2, limit: {{uniform: [0, .inf]}}}}
""",
    )
    said = cli("check", check=3).stdout
    assert "s.yaml:5:35: sweep.random.limit: a list is not 2 numbers. Write {uniform: [0, 1]}." in said


def test_a_word_that_yaml_1_1_reads_otherwise_is_pointed_at_once(cli, drop, workspace):
    drop("a", {"x": 1})
    drop("b", {"x": 2})
    path = workspace / "ConfigSources" / "a.yaml"
    path.write_text(path.read_text() + "shuffle: no\ntimes: &t 010\nagain: *t\n")
    other = workspace / "ConfigSources" / "b.yaml"
    words = ("yes", "on", "12_000", "12:30:45", "0o17")
    other.write_text(other.read_text() + "".join(f"w{n}: {word}\n" for n, word in enumerate(words)))
    with (workspace / "workspace.yaml").open("a") as file:
        file.write("\nverbose: off\n")
    row = len((workspace / "workspace.yaml").read_text().splitlines())
    readers = "YAML 1.1 readers such as PyYAML and the first release"
    checked = [line for line in cli("check").stdout.splitlines() if "warning" in line]
    said = cli("ready").stdout.splitlines()
    assert [line for line in said if "warning" in line] == checked
    places = [line.split(" here, and ")[0] for line in checked if line.startswith("b.yaml")]
    assert places == [
        "b.yaml:7:5: warning: w0: yes is the text 'yes'",
        "b.yaml:8:5: warning: w1: on is the text 'on'",
        "b.yaml:9:5: warning: w2: 12_000 is the text '12_000'",
        "b.yaml:10:5: warning: w3: 12:30:45 is the text '12:30:45'",
        "b.yaml:11:5: warning: w4: 0o17 is the number 15",
    ]
    assert [line for line in said if "warning" in line and not line.startswith("b.yaml")] == [
        (
            f"workspace.yaml:{row}:10: warning: verbose: off is the text 'off' here, and false to {readers}. "
            "Write false if you mean that, or 'off' in quotes."
        ),
        (
            f"a.yaml:7:10: warning: shuffle: no is the text 'no' here, and false to {readers}. "
            "Write false if you mean that, or 'no' in quotes."
        ),
        (
            f"a.yaml:8:8: warning: times: 010 is the number 10 here, and the number 8 to {readers}. "
            "Write 8 if you mean that, or 10."
        ),
    ]


def test_an_alias_bomb_and_a_circle_among_good_neighbours_are_refused_alone(cli, drop, workspace):
    drop("good")
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    drop("bomb", bomb)
    drop("circle", "fine: 1\nround: &round [*round]\n")
    said = cli("ready", check=3).stdout
    assert "circle.yaml:2:16: " in said
    assert "bomb.yaml:5:45: a4[7]: the file has more than 20000 values, with its aliases written out." in said
    assert sorted(p.name for p in (workspace / "ConfigsToRun").iterdir()) == ["good.yaml"]
