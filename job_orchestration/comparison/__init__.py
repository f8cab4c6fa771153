"""Compare runs: what differs between them, and what could explain their results.

Owns ``Misc/bisections``, and the verdicts in runs and in ``Misc``. `difference` has the verdict of `diff`,
`bisection` chooses commits, and `verification` compares a rerun with its original. `code_changes` reads the
files of commits from the workspace's own store of code.
"""
