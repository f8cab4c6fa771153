"""Execute a run's tasks in processes of their own: a warm fork server and the children it forks.

Start with `fork_server`, the process that imports the tasks once and forks a child for each attempt;
`fork_server_client` is the worker's side of it, `task_runner` runs in the child. `task_validation` runs there
for `ready`. The package owns processes; on the disk it writes only to a run's log, journal and outputs.
"""
