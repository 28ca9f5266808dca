"""Who the customers are, who speaks for them, and the credentials they speak with.

Owns customers, people and their roles, API keys and operator keys. Must not know what a customer may use: that is
`licensing`'s, which stands on this app. Always holds: a credential is stored only as a keyed digest and in sealed
form, so that the database alone opens nothing.
"""
