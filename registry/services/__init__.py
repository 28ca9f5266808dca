"""Writes of `registry`: one verb a function, each one transaction with its audit row."""
