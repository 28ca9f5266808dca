"""What the management, account and registry APIs have in common (DESIGN §5, conventions).

Owns how a request is read, authorised, made safe to repeat, answered and documented; knows no app and no table but its
own. An endpoint is a method decorated with `operation`: it gets what was asked, checked and typed, calls one service
and returns an `Answer`. Always holds: a write, its audit row and its remembered answer commit together; every refusal
is a problem document; whatever an operation does not declare, it does not accept.
"""
