"""Find what can be deleted, and check workspace and machine for problems.

Owns nothing on the disk but a short-lived probe file and scratch folders in ``Misc``. Open `retention` for
which runs are kept, `garbage` for what else can go, `workspace_check` and `machine_check` for `doctor`.
"""
