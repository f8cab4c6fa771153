"""Estimate the time left for runs and for the queue. Reads records and summaries; owns nothing on the disk.

Open `time_left` first: it combines `task_durations` (how long a task takes) with `queue_simulation` (when
each run of a queue ends).
"""
