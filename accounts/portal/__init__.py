"""The pages of `accounts`, and what every page of the portal stands on: who may see it, and how a browser is answered.

Owns sign-in, people, keys, the audit log's page and security settings. Pages call services and selectors and decide
nothing themselves. Every page says who it is for with a decorator of `accounts.portal.access`; a test walks the URL
table and fails for one that does not.
"""
