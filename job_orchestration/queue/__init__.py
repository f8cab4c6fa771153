"""The queue of one worker: which run it tries next, and with which resources of the machine.

Start with `queue`, the index of waiting tokens; `scheduler` orders them, and `resource_pool` allocates CPUs,
memory, GPUs and named resources. `stall_monitor` detects runs that make no progress. On the disk it owns the
reservations in ``Misc/pools``; it reads tokens and never moves one.
"""
