"""What every test stands on: real PostgreSQL and Valkey, started once, and a fixed cast of customers."""

import os
import shutil
import tempfile
from pathlib import Path

import django
import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from licensing.crypto.sealing import new_versioned_key
from licensing.embedded.services import EmbeddedServices

_PURPOSES = ("AUTH", "BUILDS", "TOKENS", "WEB", "ARTIFACTS")

# The same examples every time, and however busy the machine is: slowness is no fault.
hypothesis_settings.register_profile(
    "keywright", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("keywright")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the services before Django reads its settings; under xdist each worker has services of its own."""
    is_xdist_controller = bool(getattr(config.option, "numprocesses", None)) and not hasattr(config, "workerinput")
    if is_xdist_controller:
        return  # it runs no test; its workers would inherit its environment, and read the settings too early
    _start_services(config)
    os.environ["DJANGO_SETTINGS_MODULE"] = "licensing.settings"
    django.setup()
    # A logger that keeps its processors is deaf to `capture_logs` once another test has configured others.
    structlog.configure(cache_logger_on_first_use=False)


def _start_services(config: pytest.Config) -> None:
    root = Path(tempfile.mkdtemp(prefix="keywright-tests-"))
    services = EmbeddedServices(root, durable=False)
    endpoints = services.start()
    config.add_cleanup(lambda: shutil.rmtree(root, ignore_errors=True))
    config.add_cleanup(services.stop)
    os.environ.update(
        DATABASE_URL=endpoints.database_owner_url,
        # The other two roles, for tests of what they may do; the database of the tests is the one of the settings.
        TEST_DATABASE_WEB_URL=endpoints.database_web_url,
        TEST_DATABASE_SIGN_URL=endpoints.database_sign_url,
        VALKEY_URL=endpoints.valkey_url,
        KEYWRIGHT_EMBEDDED="true",
        KEYWRIGHT_ROLE="owner",
        PUBLIC_URL="http://testserver",
        ALLOWED_HOSTS="testserver",
        DJANGO_SECRET_KEY="test-" + os.urandom(32).hex(),
        LOG_LEVEL="ERROR",
        RATE_LIMIT_PER_MINUTE="0",  # tests of the limits switch them on
        API_KEY_PEPPERS=new_versioned_key(),
        **{f"KEK_{purpose}": new_versioned_key() for purpose in _PURPOSES},
    )
