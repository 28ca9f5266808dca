"""What is counted and timed, for Prometheus: every metric of the server, defined in one place (docs/metrics.md).

With PROMETHEUS_MULTIPROC_DIR set, all processes of a machine write to files there and any of them can tell the sums.
Labels take values from fixed sets alone; should one ever not, everything beyond a bound is counted as `other`.
"""

import os
import re
from pathlib import Path
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

if _folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    # Before the first metric, which has its file there.
    Path(_folder).mkdir(mode=0o700, parents=True, exist_ok=True)

_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CRYPTO_BUCKETS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)
_MAX_CODES: Final = 200

requests = Histogram(
    "keywright_request_seconds",
    "Requests: time from the first line of Python to the answer, by endpoint and code of the answer.",
    ["endpoint", "code"],
    buckets=_REQUEST_BUCKETS,
)
authentication_failures = Counter(
    "keywright_authentication_failures_total", "Credentials that were refused, by reason.", ["reason"]
)
tokens = Histogram(
    "keywright_token_seconds",
    "Signing tokens and leases, verifying the signatures of tokens.",
    ["operation"],
    buckets=_CRYPTO_BUCKETS,
)
token_signed = tokens.labels("sign_token")
lease_signed = tokens.labels("sign_lease")
token_verified = tokens.labels("verify_token")
activations = Counter("keywright_activations_total", "Places taken by installations.")
limiter = Counter(
    "keywright_limiter_total",
    "Requests as the rate limits saw them: allowed, refused, blocked (bad credentials from an address), failed_open.",
    ["outcome"],
)
bad_credentials = Counter("keywright_bad_credentials_total", "Bad credentials counted against their source address.")
valkey_away = Gauge("keywright_valkey_away", "1 while Valkey is taken to be away.", multiprocess_mode="livemax")
database_failures = Counter("keywright_database_failures_total", "Connections and statements that got no answer.")
snapshots = Counter("keywright_snapshots_total", "What the caches of snapshots did.", ["event"])
snapshot_entries = Gauge("keywright_snapshot_entries", "Snapshots kept, all processes.", multiprocess_mode="livesum")
snapshot_bytes = Gauge(
    "keywright_snapshot_bytes", "Approximate memory of those snapshots.", multiprocess_mode="livesum"
)
heartbeat_age = Gauge(
    "keywright_heartbeat_age_seconds",
    "Since the last heartbeat that came back was sent, in the process that is worst off.",
    multiprocess_mode="livemax",
)
listeners_lost = Gauge(
    "keywright_listeners_disconnected", "Processes whose listener is not connected.", multiprocess_mode="livesum"
)

_PLUGIN_ENDPOINTS: Final = ("authenticate", "validate", "refresh", "deactivate", "usage")
_BY_PATH: Final = {
    f"/api/plugins/{name}{slash}": f"plugins/{name}" for name in _PLUGIN_ENDPOINTS for slash in ("", "/")
}
# First match wins. What no prefix names is a page, or nothing.
_BY_PREFIX: Final = (
    ("/api/plugins/", "plugins/other"),
    ("/api/registry/", "registry"),
    ("/private/", "registry"),
    ("/download/", "download"),
    ("/api/manage/", "management"),
    ("/api/account/", "account"),
    ("/api/", "api/other"),
    ("/.well-known/", "discovery"),
    ("/livez", "health"),
    ("/readyz", "health"),
    ("/metrics", "metrics"),
    ("/static/", "static"),
)
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{1,39}")
_STATUS: Final = re.compile(r"[1-5][0-9][0-9]")
_codes: set[str] = set()
_children: dict[tuple[str, str], Histogram] = {}


def endpoint_of(path: str) -> str:
    """The label of a path, one of a fixed set."""
    exact = _BY_PATH.get(path)
    if exact is not None:
        return exact
    return next((label for prefix, label in _BY_PREFIX if path.startswith(prefix)), "pages")


def observe_request(path: str, code: str, seconds: float) -> None:
    """Count and time one request; `code` is the answer's code, or its HTTP status where it has none."""
    key = (_BY_PATH.get(path) or endpoint_of(path), code)
    child = _children.get(key)
    (child or _new_child(*key)).observe(seconds)


def observe_refusal(code: str) -> None:
    """Count a credential that was refused."""
    authentication_failures.labels(code if is_known_code(code) else "other").inc()


def is_known_code(code: str) -> bool:
    """Whether a code may become a label: it looks like one, and there are not yet too many different ones."""
    if code in _codes:
        return True
    if len(_codes) >= _MAX_CODES or not (_CODE.fullmatch(code) or _STATUS.fullmatch(code)):
        return False
    _codes.add(code)
    return True


def _new_child(endpoint: str, code: str) -> Histogram:
    if not is_known_code(code):
        return requests.labels(endpoint, "other")
    child = _children[endpoint, code] = requests.labels(endpoint, code)
    return child
