"""Writes of `build_farm`: one verb a function, each one transaction with its audit row.

PostgreSQL is the truth: a job finds its work in the queue's rows, claims it by a conditional update and keeps it by a
lease. Celery messages only say that there may be something to do.
"""
