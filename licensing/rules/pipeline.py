"""The rules in their order (DESIGN §5), and the one loop that runs them: first answer wins."""

import ipaddress
import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import msgspec

from licensing.rules import codes
from licensing.rules.codes import Verdict, allow, deny
from licensing.rules.once import once
from licensing.rules.snapshot import Catalogue, CustomerSnapshot, Key, Plugin
from licensing.rules.subscription import DEFAULT_GRACE_SECONDS, Standing, standing
from licensing.rules.versions import is_blocked


class Build(msgspec.Struct, frozen=True, gc=False):
    """A build credential that the request's signature found among this customer's."""

    id: str
    expires_at: float | None = None


class Facts(msgspec.Struct, frozen=True, dict=True):
    """All that a decision may rest on: who asks, for what, and what is known of both.

    `key` is the presented key, or the one that the token was minted for; None if there is none. `build` is None
    where none was found; `is_signed` tells whether the request named one (by signature, or in its token).
    """

    now: float
    catalogue: Catalogue
    customer: CustomerSnapshot
    key: Key | None
    plugin_name: str
    plugin_version: str
    source_address: str
    scope: str = "plugins:authenticate"
    claimed_customers: tuple[str, ...] = ()
    required_tier: str = ""
    is_signed: bool = False
    build: Build | None = None
    installation_id: str = ""
    grace_seconds: int = DEFAULT_GRACE_SECONDS

    @once
    def plugin(self) -> Plugin | None:
        """The plugin asked for, if this customer may know of it."""
        return visible_plugin(self.catalogue, self.customer, self.plugin_name)

    @once
    def standing(self) -> Standing:
        """How the customer's subscription stands."""
        return standing(self.customer.subscription, self.now, grace_seconds=self.grace_seconds)


Rule = Callable[[Facts], Verdict | None]


def visible_plugin(catalogue: Catalogue, customer: CustomerSnapshot, name: str) -> Plugin | None:
    """The plugin of this name, unless it is private and the customer is not on its allow-list."""
    plugin = catalogue.plugins.get(name)
    if plugin is None or (plugin.is_private and name not in (customer.allowed_plugins or ())):
        return None
    return plugin


def first_answer(rules: Sequence[Rule], facts: Facts) -> Verdict:
    """Run `rules` in order; VALID when none answers."""
    for rule in rules:
        verdict = rule(facts)
        if verdict is not None:
            return verdict
    return allow()


# -- The credential


def key_known(facts: Facts) -> Verdict | None:
    """No key, or one that is no customer's."""
    return deny(codes.API_KEY_INVALID) if facts.key is None else None


def key_expired(facts: Facts) -> Verdict | None:
    """The key's own end has come."""
    key = facts.key
    if key is not None and key.expires_at is not None and facts.now >= key.expires_at:
        return deny(codes.API_KEY_EXPIRED)
    return None


def key_revoked(facts: Facts) -> Verdict | None:
    """The key was revoked."""
    return deny(codes.API_KEY_REVOKED) if facts.key is not None and facts.key.is_revoked else None


def scope_present(facts: Facts) -> Verdict | None:
    """The key does not allow this kind of request."""
    if facts.key is not None and facts.scope not in facts.key.scopes:
        return deny(codes.SCOPE_MISSING, f"The API key lacks the scope {facts.scope}.")
    return None


def address_allowed(facts: Facts) -> Verdict | None:
    """The key is bound to addresses, and this is none of them."""
    if facts.key is None or not facts.key.cidrs or _is_within(facts.source_address, facts.key.cidrs):
        return None
    return deny(codes.IP_NOT_ALLOWED)


# -- The customer


def no_lockdown(facts: Facts) -> Verdict | None:
    """An operator has thrown the global switch."""
    return deny(codes.LOCKDOWN) if facts.catalogue.is_locked_down else None


def customer_matches(facts: Facts) -> Verdict | None:
    """The request names another customer than the credential's."""
    for claimed in facts.claimed_customers:
        if claimed != facts.customer.id:
            return deny(codes.CUSTOMER_MISMATCH)
    return None


def customer_not_suspended(facts: Facts) -> Verdict | None:
    """The customer is suspended, or quarantined as a whole."""
    if facts.customer.is_suspended or facts.customer.is_customer_quarantined:
        return deny(codes.CUSTOMER_SUSPENDED)
    return None


def subscription_exists(facts: Facts) -> Verdict | None:
    """The customer never subscribed."""
    return deny(codes.SUBSCRIPTION_NONE) if facts.customer.subscription is None else None


def subscription_not_expired(facts: Facts) -> Verdict | None:
    """The paid period, trial or grace has run out."""
    return deny(codes.SUBSCRIPTION_EXPIRED) if facts.standing.code == codes.SUBSCRIPTION_EXPIRED else None


def subscription_not_paused(facts: Facts) -> Verdict | None:
    """The subscription is paused."""
    return deny(codes.SUBSCRIPTION_PAUSED) if facts.standing.code == codes.SUBSCRIPTION_PAUSED else None


# -- The plugin and the build


def plugin_known(facts: Facts) -> Verdict | None:
    """No such plugin, or a private one that this customer may not see: the two are answered alike."""
    return deny(codes.PLUGIN_UNKNOWN) if facts.plugin is None else None


def plugin_not_quarantined(facts: Facts) -> Verdict | None:
    """The plugin, the version or the artifact is in quarantine."""
    build_id = facts.build.id if facts.build else ""
    if facts.catalogue.is_plugin_quarantined(facts.plugin_name, facts.plugin_version, build_id):
        return deny(codes.PLUGIN_QUARANTINED)
    return None


def build_known(facts: Facts) -> Verdict | None:
    """The signature is none that was issued to this customer for this plugin and version."""
    return deny(codes.BUILD_UNKNOWN) if facts.is_signed and facts.build is None else None


def build_not_quarantined(facts: Facts) -> Verdict | None:
    """The build is in quarantine."""
    if facts.build is not None and facts.customer.is_quarantined("build", facts.build.id):
        return deny(codes.BUILD_QUARANTINED)
    return None


def build_not_expired(facts: Facts) -> Verdict | None:
    """The build was made for a limited time, which is over: by the whole second, as a token of it would end."""
    ends_at = facts.build.expires_at if facts.build is not None else None
    return deny(codes.BUILD_EXPIRED) if ends_at is not None and facts.now >= math.floor(ends_at) else None


def version_served(facts: Facts) -> Verdict | None:
    """The vendor no longer serves this version."""
    plugin = facts.plugin
    if plugin is not None and is_blocked(
        facts.plugin_version, minimum=plugin.minimum_version, blocked=plugin.blocked_versions
    ):
        return deny(codes.VERSION_BLOCKED)
    return None


def tier_high_enough(facts: Facts) -> Verdict | None:
    """The tier ranks below the plugin's, or below what the request itself asked for (which can only be stricter)."""
    subscription, plugin = facts.customer.subscription, facts.plugin
    if subscription is None or plugin is None:
        return None
    tier = facts.catalogue.tiers.get(subscription.tier)
    for required in (plugin.required_tier, facts.required_tier):
        if not required:
            continue
        wanted = facts.catalogue.tier_named(required)
        # A tier that nobody can have is one that nobody reaches.
        if tier is None or wanted is None or tier.rank < wanted.rank:
            return deny(codes.TIER_TOO_LOW)
    return None


def installation_not_quarantined(facts: Facts) -> Verdict | None:
    """The installation is in quarantine."""
    if facts.installation_id and facts.customer.is_quarantined("installation", facts.installation_id):
        return deny(codes.INSTALLATION_QUARANTINED)
    return None


CREDENTIAL_RULES: tuple[Rule, ...] = (key_known, key_expired, key_revoked, scope_present, address_allowed)
CUSTOMER_RULES: tuple[Rule, ...] = (
    no_lockdown,
    customer_matches,
    customer_not_suspended,
    subscription_exists,
    subscription_not_expired,
    subscription_not_paused,
)
PLUGIN_RULES: tuple[Rule, ...] = (
    plugin_known,
    plugin_not_quarantined,
    build_known,
    build_not_quarantined,
    build_not_expired,
    version_served,
    tier_high_enough,
)


@lru_cache(maxsize=8192)
def _is_within(address: str, cidrs: tuple[str, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(network is not None and parsed in network for network in map(_network, cidrs))


def _network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The range; None for a text that is none, in which no address lies."""
    try:
        return ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return None
