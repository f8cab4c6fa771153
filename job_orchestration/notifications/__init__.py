"""Notifications: messages about runs and the queue, an outbox on the disk, and their delivery.

Owns ``Misc/outbox``: one file per message and recipient, ``undelivered/``, ``sent_once/`` and ``log``. Open
`publisher` first (what a worker writes, and when), then `outbox` (the files), `delivery` (the dispatcher, a
process of its own) and `notifiers` (the ways to send). Recipients and events are in
`config.notification_settings`.
"""
