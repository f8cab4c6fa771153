"""A bad config harms no other, and all its problems are reported at once."""

from __future__ import annotations

BAD = """\
githubRepository: https://example.org/project.git
pathToTasks: {repository}
outputDir: "runs/{{day}}"
maxAttempts: many
learning_rate: 1e-3
learning_rate: 1e-4
tasks:
- id: quick
  method: Quik
- id: quick
  method: Quick
"""


def test_of_a_hundred_configs_with_one_bad_one_ninety_nine_are_queued(cli, workspace, drop, repository):
    folder = repository()
    for number in range(99):
        drop(f"good_{number}", {"pathToTasks": str(folder)})
    drop("bad", BAD.format(repository=folder))

    done = cli("ready", check=3, limit=120)

    assert len(list((workspace / "ConfigsToRun").glob("good_*.yaml"))) == 99
    assert sorted(p.name for p in (workspace / "ConfigSources").iterdir()) == [
        "bad.yaml",
        "bad.yaml.problems.txt",
    ]
    problems = (workspace / "ConfigSources" / "bad.yaml.problems.txt").read_text()
    for line in (
        "bad.yaml:3:12: outputDir: '{day}' is not a placeholder.",
        "bad.yaml:4:14: maxAttempts: ",
        "bad.yaml:6:1: learning_rate: duplicate key",
        "bad.yaml:9:11: tasks[0].method: quick: Tasks.py has no class Quik. Did you mean Quick?",
        "bad.yaml:10:7: tasks[1].id: ",
    ):
        assert line in problems, (line, problems)
    assert problems.strip() in done.stdout + done.stderr

    drop("bad", {"pathToTasks": str(folder)})
    cli("ready", limit=60)
    assert list((workspace / "ConfigSources").iterdir()) == []
