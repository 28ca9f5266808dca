"""The part of the account API that is about the customer itself, its keys and people, and its audit log."""
