"""Where a request came from, believing only proxies that the operator named."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from django.http import HttpRequest

from licensing.core.hot_settings import hot_settings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=64)
def _networks(ranges: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in ranges)


def in_networks(address: str, ranges: Sequence[str]) -> bool:
    """Tell whether `address` lies in one of the CIDR `ranges`; an address that cannot be read lies in none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed.version == network.version and parsed in network for network in _networks(tuple(ranges)))


def client_address(request: HttpRequest) -> str:
    """Return the address of the nearest hop that is not one of our own proxies.

    `X-Forwarded-For` is read from its right end, and only while the hop that wrote it is in TRUSTED_PROXIES:
    everything further left is the caller's own claim.
    """
    # A peer on a unix socket has no address: it is this machine.
    address = _plain(request.META.get("REMOTE_ADDR", "")) or "127.0.0.1"
    trusted: Sequence[str] = hot_settings.TRUSTED_PROXIES
    if not trusted or not in_networks(address, trusted):
        return address
    for hop in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        candidate = _plain(hop.strip())
        if candidate is None:
            return address
        address = candidate
        if not in_networks(address, trusted):
            break
    return address


@lru_cache(maxsize=8192)
def _plain(text: str) -> str | None:
    """The address in its one usual spelling; None for what is none.

    Without a zone (`fe80::1%eth0`), which PostgreSQL does not take, and IPv4 as IPv4 whatever the socket's family.
    """
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(parsed)
