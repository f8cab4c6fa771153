"""Collect results of runs into tables, and write them as text, Parquet or database rows.

Reads result files in run folders and owns nothing on the disk; exports go to files and databases of the user.
Open `result_rows` (one run as a row) first, then `tables` (sorting, grouping).
"""
