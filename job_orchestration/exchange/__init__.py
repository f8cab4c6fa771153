"""Runs that leave a workspace, and runs that come from another one.

An export is a folder or a ZIP archive: the code as it ran, config, journal, outputs, and a program that runs
the tasks again without this package. It is written outside of the workspace. An import takes the runs of an
export into ``Output`` and the final folders, all of a run or nothing.
Start with `exports` and `imports`; `manifest` says what stands where.
"""
