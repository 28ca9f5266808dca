"""A program for the tests: starts embedded services, commits numbered rows and prints each number after its commit."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import psycopg

from licensing.embedded.errors import EmbeddedError
from licensing.embedded.services import EmbeddedServices


class _Ended(Exception):
    pass


def _end(_number: int, _frame: FrameType | None) -> None:
    raise _Ended


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    services = EmbeddedServices(Path(sys.argv[1]), durable=sys.argv[2] == "durable")
    signal.signal(signal.SIGTERM, _end)
    try:
        endpoints = services.start()
    except EmbeddedError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    try:
        with psycopg.connect(endpoints.database_owner_url, autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (number serial PRIMARY KEY)")
            _say(json.dumps(asdict(endpoints)))
            while True:
                row = connection.execute("INSERT INTO kept DEFAULT VALUES RETURNING number").fetchone()
                assert row is not None
                _say(str(row[0]))
    except _Ended:
        pass
    finally:
        services.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
