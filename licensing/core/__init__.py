"""The kernel that every app stands on, and that knows none of them.

It owns what is the same everywhere: errors and their public problem documents, identifiers, the strict reading of
request bodies and of the environment, the request id, the outbox and the audit record. It imports no other app, and
nothing here decides what a customer may do.
"""
