"""A server of somebody's own: it answers every plugin with a yes, by keys that an authority of its own vouches for."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from licensing.crypto import base64url, jwk, keyset
from licensing.crypto.authority import PluginAuthority, Purpose, certificate_to_der
from licensing.crypto.signatures import sign_text


class Impostor:
    """Serves from loopback until it is closed. `issuer` is the real server's: the forgery is as good as it can be."""

    def __init__(self, *, issuer: str) -> None:
        token_key = jwk.generate_private_key()
        key_set = _key_set(issuer, token_key).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(key_set, "application/jose")

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                token = _token(token_key, issuer, asked)
                self._answer(json.dumps({"success": True, "token": token}).encode(), "application/json")

            def _answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _key_set(issuer: str, token_key: ec.EllipticCurvePrivateKey) -> str:
    """Right in every way, but for the authority that certified its signer."""
    now = datetime.now(UTC).replace(microsecond=0)
    authority, key = PluginAuthority.create(now=now - timedelta(days=2)), jwk.generate_private_key()
    begins, ends = now - timedelta(days=1), now + timedelta(days=1)
    certificate = authority.issue(Purpose.KEYSET, key.public_key(), not_before=begins, not_after=ends)
    return keyset.sign_key_set(
        keys=[keyset.ListedKey(token_key.public_key(), keyset.KeyPurpose.TOKEN)],
        issuer=issuer,
        version=1,
        issued_at=int(now.timestamp()),
        certificate_der=certificate_to_der(certificate),
        private_key=key,
    )


def _token(key: ec.EllipticCurvePrivateKey, issuer: str, asked: dict[str, str]) -> str:
    now = int(time.time())
    header = {"alg": "ES256", "kid": jwk.thumbprint(key.public_key()), "typ": "at+jwt"}
    claims = {
        "iss": issuer,
        "aud": asked["plugin_name"],
        "client_id": asked["customer_id"],
        "customer_id": asked["customer_id"],
        "authorized_features": ["api_logging"],
        "iat": now,
        "nbf": now,
        "exp": now + 900,
        "nonce": asked["nonce"],
    }
    signed = ".".join(base64url.encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    r, s = decode_dss_signature(sign_text(key, signed.encode()))
    return f"{signed}.{base64url.encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
