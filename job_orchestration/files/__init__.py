"""The disk and git: everything that is read from or written to a workspace."""
