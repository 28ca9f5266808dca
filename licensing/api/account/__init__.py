"""The part of the account API that is about what the customer has: subscription, entitlements, installations."""
