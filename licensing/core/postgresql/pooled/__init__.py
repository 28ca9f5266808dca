"""The same backend for a process of many threads that seldom ask: they share a few connections."""
