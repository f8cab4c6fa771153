"""Processes: workers that claim runs, hosts that are warm, children that run tasks."""
