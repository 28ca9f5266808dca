"""Runs the whole server on one machine: real PostgreSQL and Valkey, and every process, as children.

Owns the data directory of an installation: its secrets, its database files, its logs and which processes
belong to it. Knows nothing of models, HTTP or licensing: it is the outermost layer and starts the others.

What always holds:

* Every child runs under a guard (`guard.py`) that outlives the supervisor just long enough to end it, so no
  process is left behind, however the supervisor ended.
* One supervisor per data directory, by a lock that the kernel releases with the process.
* Anything half-made has a name of its own and is renamed into place when it is complete and on disk.
* What goes wrong at start is one sentence (`EmbeddedError`), never a traceback.
"""
