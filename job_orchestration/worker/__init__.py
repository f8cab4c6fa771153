"""Workers: long-lived processes that claim runs and execute their tasks, one run at a time.

Start with `worker`, the loop of a worker's life. `claimed_run` is one run that it has claimed,
`stop_requests` its signals and walltime, `heartbeat` its entry in the list of workers, `options` its start.
On the disk it owns its heartbeat in ``Misc/workers``; it writes to a run only through its claim.
"""
