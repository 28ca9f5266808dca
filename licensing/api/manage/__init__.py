"""The part of the management API that is about the catalogue, subscriptions, entitlements and installations."""
