"""The code of a run: the commit that it is pinned to, the snapshot of that commit, and its import.

Owns ``Misc/code.git`` and ``Misc/snapshots``; a user's repository is only read. Open `work_tree` first (the
state of a user's repository), then `snapshots` (how commits are kept) and `task_importer` (how a snapshot is
imported). `git` runs every git command; `commits` reads the store with GitPython.
"""
