"""The part of the management API that is about customers, their keys and people, operators, and the audit log."""
