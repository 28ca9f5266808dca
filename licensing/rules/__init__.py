"""Pure decisions: what a customer may do, worked out from a snapshot, a request and an instant.

Knows no Django, no database, no clock and no randomness. A rule is `rule(facts) -> Verdict | None`; the first answer
wins (`licensing.rules.pipeline`). The same rules answer authenticate, validate, refresh, downloads and *explain*, so
that no two parts of the server can disagree. Instants are Unix seconds; the instant of an end belongs to the "after".
"""
