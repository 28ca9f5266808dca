"""Instant change: each process's cache of snapshots, and how it hears that something changed.

`protocol`, `store`, `cache` and `reading` are pure: instants, answers and notifications are passed in. `connection` and
`listener` own the one direct database connection of a process that listens; `triggers` writes the SQL that makes every
change heard, whoever makes it. Nothing here knows what a snapshot contains.
"""
