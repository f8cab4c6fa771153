"""The workspace folder: layout, names, durable writes, safe reads, locks, heartbeats and file events.

All other packages change the disk through `durable`. This package itself owns ``Misc/VERSION``, the
heartbeats in ``Misc/workers``, and the problems files beside refused configs. Open `layout` first (where
everything lies), then `naming` (what a token's name says) and `durable` (how writes survive a power cut).
"""
