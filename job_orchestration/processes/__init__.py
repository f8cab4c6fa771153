"""Start, supervise and end processes.

Owns nothing on the disk. Open `supervisor` first (several processes of this program under one), then `reaper`
(ends every process that a task left behind). `wakeup` is the pipe that ends a wait.
"""
