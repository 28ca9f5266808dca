"""Pure functions over bytes and keys: what is signed, sealed, hashed and proven, and in which exact format.

Owns the API-key format, sealing at rest, tokens and leases, the request proof, PluginAuthority and its
certificates, the signed key set, package signatures and the embedded build secret. Knows no database, no
settings and no clock: `now` is an argument, an `int` of epoch seconds for signed texts, an aware
`datetime` for certificates.

Always holds: no exception text and no `repr` contains a key, a secret, a token or a plaintext; bad input from
outside is a typed error of the module it was given to, a caller's mistake is a `ValueError`.
"""
