"""What `check --deploy` says of an environment, without a process of its own for each question."""

import os
import runpy
from pathlib import Path

import pytest
import structlog
from django.core.checks import CheckMessage, Tags, registry
from django.test import override_settings

ROOT = Path(__file__).resolve().parents[1]
READ_BY_CHECKS = (
    *("IS_PRODUCTION", "DEBUG", "EMBEDDED", "ROLE", "SECRET_KEY", "KEY_ENCRYPTION_KEYS", "API_KEY_PEPPERS"),
    *("PUBLIC_URL", "ALLOWED_HOSTS", "TRUSTED_PROXIES", "DATABASE_URL", "VALKEY_URL", "DATABASE_LISTEN_URL"),
    *("DECLARED_SETTINGS", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_HSTS_SECONDS"),
    *("SECURE_HSTS_INCLUDE_SUBDOMAINS", "SECURE_HSTS_PRELOAD"),
)


def findings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[CheckMessage]:
    """The findings of the deployment checks on the settings that this environment makes."""
    with monkeypatch.context() as patch:
        for name in list(os.environ):
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        logs = structlog.get_config()
        try:
            made = runpy.run_path(str(ROOT / "licensing" / "settings.py"))
        finally:
            structlog.configure(**logs)  # the settings have configured others
    with override_settings(**{name: made[name] for name in READ_BY_CHECKS}):
        found = registry.registry.run_checks(tags=[Tags.security], include_deployment_checks=True)
    return [item for item in found if not item.is_silenced()]
