"""Asks this container's own server for a path, and exits 0 if it answers 200: `healthcheck.py 8000 /livez`.

The Host header is that of PUBLIC_URL, since in production the server answers to no other.
"""

import http.client
import os
import sys
from urllib.parse import urlsplit


def main(port: str, path: str) -> int:
    """Ask once; 0 or 1."""
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
    try:
        connection.request("GET", path, headers={"Host": urlsplit(os.environ.get("PUBLIC_URL", "")).netloc})
        return 0 if connection.getresponse().status == http.HTTPStatus.OK else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
