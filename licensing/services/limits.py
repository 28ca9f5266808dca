"""Rate limits of the plugin API (DESIGN §5): each installation, each customer, and bad credentials by address.

The buckets are kept in Valkey by the generic cell rate algorithm: one instant a bucket, the time at which it would be
full again. One script looks at all buckets of a request and takes from all of them or from none, atomically, by
Valkey's own clock, so that any number of processes share them exactly. While Valkey is away limits fail open: a limit
protects the service, and must not be what takes it down.
"""

import ipaddress
import time
from typing import Final

from licensing.core import metrics
from licensing.core.errors import TooManyRequests
from licensing.core.hot_settings import hot_settings
from licensing.core.valkey import Script, Sent, ValkeyAway, valkey
from licensing.rules import codes
from licensing.rules.codes import Verdict
from licensing.rules.snapshot import Catalogue, CustomerSnapshot

_BAD_PER_MINUTE: Final = 60
_BAD_BURST: Final = 100
_FIRST_BLOCK_SECONDS: Final = 30
_LONGEST_BLOCK_SECONDS: Final = 3600
_REMEMBER_STRIKES_SECONDS: Final = 86400
_MAX_BLOCKS_HERE: Final = 10_000

# No bucket can be emptier than empty: one that says so was written before the clock was set back (or when buckets were
# deeper), and is written anew, or it would refuse everybody until the clock has caught up.
# KEYS: buckets. ARGV: for each the cost of one request and the depth, both in microseconds. Answers {refused bucket
# or 0, microseconds to wait, microseconds of depth left in the first bucket}.
_TAKE: Final = Script("""
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local full_at, refused, wait = {}, 0, 0
for i, key in ipairs(KEYS) do
  local depth = tonumber(ARGV[2 * i])
  local at = tonumber(redis.call('GET', key) or 0)
  if at < now then at = now end
  if at > now + depth then
    at = now + depth
    redis.call('SET', key, string.format('%.0f', at), 'PX', math.ceil(depth / 1000) + 1)
  end
  full_at[i] = at + tonumber(ARGV[2 * i - 1])
  local over = full_at[i] - now - depth
  if over > 0 and refused == 0 then refused, wait = i, over end
end
if refused > 0 then return {refused, wait, 0} end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%.0f', full_at[i]), 'PX', math.ceil((full_at[i] - now) / 1000) + 1)
end
return {0, 0, tonumber(ARGV[2]) - (full_at[1] - now)}
""")

# KEYS: bucket, block, strikes of one address. ARGV: cost, depth (microseconds), first and longest block, memory of
# strikes (seconds). Answers the seconds that the address is blocked for, 0 if it is not.
_BAD: Final = Script("""
local left = redis.call('PTTL', KEYS[2])
if left > 0 then return math.ceil(left / 1000) end
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local at = tonumber(redis.call('GET', KEYS[1]) or 0)
if at < now then at = now end
if at > now + tonumber(ARGV[2]) then
  at = now + tonumber(ARGV[2])
  redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', math.ceil(tonumber(ARGV[2]) / 1000) + 1)
end
at = at + tonumber(ARGV[1])
if at - now <= tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000) + 1)
  return 0
end
local strikes = redis.call('INCR', KEYS[3])
redis.call('EXPIRE', KEYS[3], ARGV[5])
local block = math.min(tonumber(ARGV[4]), tonumber(ARGV[3]) * 2 ^ math.min(strikes - 1, 20))
redis.call('SET', KEYS[2], '1', 'EX', math.ceil(block))
return math.ceil(block)
""")


_allowed = metrics.limiter.labels("allowed")
_refused = metrics.limiter.labels("refused")
_was_blocked = metrics.limiter.labels("blocked")
_failed_open = metrics.limiter.labels("failed_open")
_blocked_until: dict[str, float] = {}


class Taking:
    """A request being taken from its buckets: Valkey counts while the decision is being made."""

    def __init__(self, sent: Sent | None, *, per_minute: int = 0, burst: int = 0) -> None:
        self._sent = sent
        self._per_minute = per_minute
        self._burst = burst
        self._headers: dict[str, str] | None = None

    def headers(self) -> dict[str, str]:
        """Wait for the count; the `RateLimit-*` headers of the answer.

        Raises:
            TooManyRequests: with `Retry-After`.
        """
        if self._headers is None:
            self._headers = {} if self._sent is None else self._wait(self._sent)
        return self._headers

    def _wait(self, sent: Sent) -> dict[str, str]:
        try:
            refused, wait, left = sent.result()
        except ValkeyAway:
            _failed_open.inc()
            return {}
        cost = 60_000_000 // self._per_minute
        headers = _headers(
            self._per_minute, self._burst, remaining=left // cost, reset_microseconds=cost * self._burst - left
        )
        if not refused:
            _allowed.inc()
            return headers
        _refused.inc()
        headers |= {"RateLimit-Remaining": "0", "Retry-After": str(_seconds(wait))}
        raise TooManyRequests("Too many requests; ask again later.", headers=headers)


def begin_take(*, installation: str, customer: CustomerSnapshot, catalogue: Catalogue, apart: str = "") -> Taking:
    """Begin to take one request from the buckets of an installation and of its customer.

    `apart` names another bucket of the customer's size, for requests that must not use up the customer's own.
    Nothing may be answered, written or used up before `headers()` of what is returned has been asked.
    """
    per_minute, burst = hot_settings.RATE_LIMIT_PER_MINUTE, hot_settings.RATE_LIMIT_BURST
    if per_minute == 0:
        return Taking(None)
    cost = 60_000_000 // per_minute
    keys = [f"limit:i:{installation}"]
    arguments = [cost, cost * burst]
    places = _installation_limit(customer, catalogue)
    if places is not None:
        keys.append(f"limit:c:{customer.id}{apart}")
        arguments += [max(1, cost // places), cost * burst]
    try:
        return Taking(valkey().send_script(_TAKE, keys, arguments), per_minute=per_minute, burst=burst)
    except ValkeyAway:
        _failed_open.inc()
        return Taking(None)


def take(*, installation: str, customer: CustomerSnapshot, catalogue: Catalogue) -> dict[str, str]:
    """Take one request from the buckets of an installation and of its customer; return the `RateLimit-*` headers.

    Raises:
        TooManyRequests: with `Retry-After`.
    """
    return begin_take(installation=installation, customer=customer, catalogue=catalogue).headers()


def refuse_if_blocked(address: str) -> None:
    """Refuse, without asking anyone, an address that this process knows to be blocked.

    Asked only when a credential was not found where its request says, so that a customer behind the same address as
    a guesser is served all the same.

    Raises:
        TooManyRequests: with `Retry-After`.
    """
    until = _blocked_until.get(_network(address))
    if until is not None and (left := until - time.monotonic()) > 0:
        _was_blocked.inc()
        raise _blocked(left)


def note_bad_credential(address: str) -> None:
    """Count a bad credential against its source address; past the limit block it, each time for longer.

    Raises:
        TooManyRequests: with `Retry-After`.
    """
    metrics.bad_credentials.inc()
    if hot_settings.RATE_LIMIT_PER_MINUTE == 0:
        return
    network = _network(address)
    cost = 60_000_000 // _BAD_PER_MINUTE
    keys = [f"limit:bad:{network}", f"limit:block:{network}", f"limit:strikes:{network}"]
    arguments = [cost, cost * _BAD_BURST, _FIRST_BLOCK_SECONDS, _LONGEST_BLOCK_SECONDS, _REMEMBER_STRIKES_SECONDS]
    try:
        seconds = valkey().run_script(_BAD, keys, arguments)
    except ValkeyAway:
        _failed_open.inc()
        return
    if seconds:
        _was_blocked.inc()
        if len(_blocked_until) >= _MAX_BLOCKS_HERE:
            _blocked_until.clear()
        _blocked_until[network] = time.monotonic() + seconds
        raise _blocked(seconds)


def note_failed_open() -> None:
    """Count that a limit or a quota could not be looked up, and was not applied."""
    _failed_open.inc()


def note_bad_token(verdict: Verdict, address: str) -> None:
    """Count a token that was never ours as a bad credential; one that has merely expired is none.

    Raises:
        TooManyRequests: with `Retry-After`.
    """
    if verdict.code == codes.TOKEN_INVALID:
        note_bad_credential(address)


def _blocked(seconds: float) -> TooManyRequests:
    return TooManyRequests(
        "Too many bad credentials from this address.", headers={"Retry-After": str(max(1, int(seconds + 0.999)))}
    )


def _installation_limit(customer: CustomerSnapshot, catalogue: Catalogue) -> int | None:
    """How many installations the customer may have; at least one, for the buckets' sake. None: no limit."""
    subscription = customer.subscription
    if subscription is None:
        return 1
    limit = subscription.installation_limit
    if limit is None and (tier := catalogue.tiers.get(subscription.tier)) is not None:
        limit = tier.installation_limit
    return None if limit is None else max(1, limit)


def _network(address: str) -> str:
    """The address, or of IPv6 its /64: one subscriber has all of that."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, 64), strict=False).network_address)
    return str(parsed)


def _headers(per_minute: int, burst: int, *, remaining: int, reset_microseconds: int) -> dict[str, str]:
    return {
        "RateLimit-Limit": str(burst),
        "RateLimit-Policy": f"{per_minute};w=60;burst={burst}",
        "RateLimit-Remaining": str(remaining),
        "RateLimit-Reset": str(_seconds(reset_microseconds)),
    }


def _seconds(microseconds: int) -> int:
    return -(-microseconds // 1_000_000)
