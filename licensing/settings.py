"""Settings, all from the environment (docs/configuration.md). A setting that cannot work stops the process here."""

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from csp.constants import NONCE, NONE, SELF
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from licensing.core import logs
from licensing.core.environment import Environment
from licensing.core.errors import ConfigurationError
from licensing.core.postgresql.patience import PatientConnection
from licensing.core.role_secrets import KEY_PURPOSES, ROLES, kek_setting, required_secrets

BASE_DIR = Path(__file__).resolve().parent.parent

env = Environment(os.environ)

# -- What kind of deployment this is

KEYWRIGHT_ENV = env.text(
    "KEYWRIGHT_ENV",
    "development",
    choices=("development", "production"),
    help="`production` logs JSON, sends secure cookies and lets `check --deploy` be strict.",
)
IS_PRODUCTION = KEYWRIGHT_ENV == "production"
DEBUG = env.boolean("DEBUG", False, help="Django's debug pages. Never in production.")
EMBEDDED = env.boolean(
    "KEYWRIGHT_EMBEDDED", False, help="Set by `manage.py quickstart`: the database is the embedded one."
)
PUBLIC_URL = env.http_url(
    "PUBLIC_URL",
    "http://127.0.0.1:8000",
    help="Where clients reach this server: the token issuer, and the authority that request proofs are bound to.",
)
ALLOWED_HOSTS = env.words(
    "ALLOWED_HOSTS",
    "",
    help="Host names to answer to, besides the one of PUBLIC_URL and loopback in development.",
)
ALLOWED_HOSTS.append(urlsplit(PUBLIC_URL).hostname or "")
if not IS_PRODUCTION:
    ALLOWED_HOSTS += ["localhost", "127.0.0.1", "[::1]"]
TRUSTED_PROXIES = env.networks(
    "TRUSTED_PROXIES",
    "",
    help="Addresses (CIDR) of the proxies whose X-Forwarded-For and -Proto are believed.",
)
ROLE = env.text(
    "KEYWRIGHT_ROLE",
    "web",
    choices=ROLES,
    help="What this process is: which secrets it insists on, and which URLs it serves.",
)

# -- Secrets (each also as X_FILE)

SECRET_KEY = env.secret("DJANGO_SECRET_KEY", help="Django's signing secret, 50 characters or more.")
if not SECRET_KEY:
    if IS_PRODUCTION and "DJANGO_SECRET_KEY" in required_secrets(ROLE):
        raise ConfigurationError("DJANGO_SECRET_KEY (or DJANGO_SECRET_KEY_FILE) must be set in production.")
    # A role that signs nothing with it gets one that nobody knows: a build worker could forge sessions otherwise.
    SECRET_KEY = secrets.token_urlsafe(48) if IS_PRODUCTION else "development-only-" + "0" * 40
API_KEY_PEPPERS = env.secret(
    "API_KEY_PEPPERS",
    help="`2:BASE64,1:BASE64`, 32 bytes each, the current one first. Peppers of stored API keys.",
)
KEY_ENCRYPTION_KEYS = {
    purpose: env.secret(
        kek_setting(purpose),
        help=f"Key-encryption keys of purpose `{purpose}`, written like API_KEY_PEPPERS."
        + (" Given to the `sign` worker alone." if purpose == "artifacts" else ""),
    )
    for purpose in KEY_PURPOSES
}
API_KEY_PREFIX = env.text("API_KEY_PREFIX", "km", help="First letters of API and operator keys.")

# -- PostgreSQL and Valkey

DATABASE_URL = env.secret(
    "DATABASE_URL",
    help="`postgresql://user:password@host/name` of this process's database role (web, sign or owner). Of several "
    "hosts (`host1,host2`) the one that takes writes is used.",
)
DATABASE_LISTEN_URL = env.secret(
    "DATABASE_LISTEN_URL",
    help="A direct URL for LISTEN, where DATABASE_URL goes through a transaction-pooling proxy.",
)
DATABASE_PREPARED_STATEMENTS = env.boolean(
    "DATABASE_PREPARED_STATEMENTS",
    True,
    help="Prepare the statements of the hot path in the server; off for a pooling proxy that cannot have that.",
)
DATABASE_TIMEOUT_SECONDS = env.integer(
    "DATABASE_TIMEOUT_SECONDS",
    5,
    minimum=1,
    maximum=60,
    help="How long a web process waits for a connection, or for an answer.",
)
DATABASE_POOL_SIZE = env.integer(
    "DATABASE_POOL_SIZE",
    16,
    minimum=1,
    maximum=64,
    help="Connections that all threads of a `files` process share; none is held while a file is sent.",
)
DATABASE_WEB_ROLE = env.text("DATABASE_WEB_ROLE", "keywright_web", help="Database role of web processes and workers.")
DATABASE_SIGN_ROLE = env.text("DATABASE_SIGN_ROLE", "keywright_sign", help="Database role of the `sign` worker.")
VALKEY_URL = env.secret("VALKEY_URL", help="`redis://host:port/0` or `unix:///path/to/socket?db=0`.")


def database_from_url(url: str) -> dict[str, Any]:
    """Return Django's DATABASES entry for a libpq URL, read by libpq's own parser."""
    try:
        parts = conninfo_to_dict(url) if url else {"dbname": "keywright"}
    except ProgrammingError:
        # libpq's own words may quote the password.
        raise ConfigurationError("DATABASE_URL is not an address that libpq can read.") from None
    options: dict[str, Any] = {
        "connect_timeout": max(2, DATABASE_TIMEOUT_SECONDS),  # libpq takes less for 2
        # A peer that is gone without a word is noticed, also by workers, whose statements may take long.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,  # milliseconds
        # Of several hosts the primary, wherever it is by now. Never a replica: it may not have heard of a change yet.
        "target_session_attrs": "read-write",
    }
    known = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    entry: dict[str, Any] = {
        "ENGINE": "licensing.core.postgresql",
        "OPTIONS": options,
        "CONN_HEALTH_CHECKS": True,
    }
    for name, value in parts.items():
        if name in known:
            entry[known[name]] = str(value)
        else:
            options[name] = value
    return entry


DATABASES = {"default": database_from_url(DATABASE_URL)}
if ROLE in ("web", "files"):
    # Nobody who serves a request waits without an end.
    DATABASES["default"]["OPTIONS"]["answer_seconds"] = DATABASE_TIMEOUT_SECONDS
if ROLE == "web":
    # Its threads are few and keep their connections.
    DATABASES["default"]["CONN_MAX_AGE"] = 1800
if ROLE == "files":
    # It has a thread for each reader, hundreds of them, and they ask only before and after they send.
    DATABASES["default"]["ENGINE"] = "licensing.core.postgresql.pooled"
    DATABASES["default"]["OPTIONS"]["application_name"] = "keywright files"
    DATABASES["default"]["OPTIONS"]["pool"] = {
        "min_size": 1,
        "max_size": DATABASE_POOL_SIZE,
        "timeout": DATABASE_TIMEOUT_SECONDS,
        "connection_class": PatientConnection,
    }

# -- Django

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "accounts.portal.apps.OperatorAdminConfig",
    "accounts.portal.apps.SignInConfig",
    "allauth.mfa",
    "allauth.usersessions",
    "rest_framework",
    "licensing.core",
    "accounts",
    "licensing",
    "registry",
    "build_farm",
]
MIDDLEWARE = [
    "licensing.core.middleware.RequestMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "accounts.portal.middleware.BrowserMiddleware",
]
ROOT_URLCONF = "registry.file_urls" if ROLE == "files" else "licensing.urls"
WSGI_APPLICATION = "licensing.wsgi.application"
AUTH_USER_MODEL = "accounts.User"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
APPEND_SLASH = False  # both forms are routes: a redirect would lose a POST's body
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]  # what is translated: a page half in another language helps nobody
USE_I18N = True
STATIC_URL = "/static/"
STATIC_ROOT = (
    env.text("STATIC_ROOT", "", help="Where `collectstatic` put the portal's assets; empty: as they lie.") or None
)
STATICFILES_DIRS = [BASE_DIR / "licensing" / "portal" / "static"]
WHITENOISE_USE_FINDERS = True  # the files as they lie in the source: running needs no build step
WHITENOISE_AUTOREFRESH = False
WHITENOISE_MAX_AGE = 86400  # pages name assets with a digest of their content
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / app / "portal" / "templates" for app in ("licensing", "registry", "build_farm")],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["django.templatetags.i18n", "accounts.portal.tags"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.portal.context.portal",
            ],
        },
    }
]

# -- The portal

PORTAL_NAME = env.text("PORTAL_NAME", "Keywright", help="What the portal, its mails and authenticator apps call it.")
OPERATORS_REQUIRE_MFA = env.boolean(
    "OPERATORS_REQUIRE_MFA", IS_PRODUCTION, help="Let operators in only with a second factor."
)
SESSION_HOURS = env.integer(
    "SESSION_HOURS", 14 * 24, minimum=1, maximum=8760, help="How long a person stays signed in to the portal."
)
MAIL_HOST = env.text("MAIL_HOST", help="SMTP server for invitations and password resets; empty: see MAIL_DIR.")
MAIL_PORT = env.integer("MAIL_PORT", 587, minimum=1, maximum=65535, help="Its port.")
MAIL_USER = env.text("MAIL_USER", help="User name at the SMTP server; empty: none is asked for.")
MAIL_PASSWORD = env.secret("MAIL_PASSWORD", help="The password that belongs to it.")
MAIL_SECURITY = env.text(
    "MAIL_SECURITY", "starttls", choices=("starttls", "tls", "none"), help="How the connection to it is protected."
)
MAIL_FROM = env.text("MAIL_FROM", "Keywright <keywright@localhost>", help="Sender of the portal's mails.")
MAIL_DIR = env.text("MAIL_DIR", help="Write mails to files in this folder, where there is no MAIL_HOST.")
DEFAULT_FROM_EMAIL = SERVER_EMAIL = MAIL_FROM
EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL_HOST, MAIL_PORT, MAIL_USER, MAIL_PASSWORD
EMAIL_USE_TLS, EMAIL_USE_SSL = MAIL_SECURITY == "starttls", MAIL_SECURITY == "tls"
EMAIL_TIMEOUT = 10
EMAIL_FILE_PATH = MAIL_DIR or None
EMAIL_BACKEND = "django.core.mail.backends." + (
    "smtp.EmailBackend" if MAIL_HOST else "filebased.EmailBackend" if MAIL_DIR else "console.EmailBackend"
)
CACHES = {
    # Rate limits of sign-in and used codes: shared by all processes, so that none of them can be asked in turn.
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": VALKEY_URL,
        "KEY_PREFIX": "portal",
        "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
    }
}
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "portal-home"
ACCOUNT_ADAPTER = "accounts.portal.adapters.AccountAdapter"
ACCOUNT_FORMS = {"reset_password": "accounts.portal.forms.ResetPasswordForm"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # addresses are proven by the invitation's mail
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_LOGIN_ON_PASSWORD_RESET = False  # whoever holds the mailbox still owes the second factor
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_DEFAULT_HTTP_PROTOCOL = urlsplit(PUBLIC_URL).scheme
MFA_ADAPTER = "accounts.portal.adapters.MfaAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # nobody signs up by themselves, so there is no one to lock out of an address
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not IS_PRODUCTION  # browsers allow it on loopback alone
PASSWORD_RESET_TIMEOUT = 3600
CSRF_FAILURE_VIEW = "accounts.portal.errors.csrf_failure"
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],  # data: for the QR code of a second factor
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["default", "dompurify"],
        "report-uri": ["/account/reports"],
        "report-to": ["browser"],
    }
}

# Browsers: also what `check --deploy` looks at.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = urlsplit(PUBLIC_URL).scheme == "https"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = SESSION_HOURS * 3600
# The browser itself holds a __Host- cookie to TLS, to this host alone and to no narrower path.
COOKIE_PREFIX = "__Host-" if SESSION_COOKIE_SECURE else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{COOKIE_PREFIX}session", f"{COOKIE_PREFIX}csrf"
MESSAGE_STORAGE = "accounts.portal.sessions.MessageStorage"
SECURE_HSTS_SECONDS = 31536000 if SESSION_COOKIE_SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SESSION_COOKIE_SECURE
SECURE_SSL_REDIRECT = False  # the proxy speaks TLS; this server would only redirect its own health checks
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SILENCED_SYSTEM_CHECKS = [
    "security.W002",  # X-Frame-Options: the Content-Security-Policy says frame-ancestors 'none'
    "security.W003",  # CSRF middleware stands where sessions do: on the portal, not on the keyed APIs
    "admin.E408",  # sessions, sign-in and messages stand in BrowserMiddleware, for the same reason
    "admin.E409",
    "admin.E410",
    "security.W008",  # TLS redirect: the proxy's
    "urls.W002",
]

# -- Logs

LOG_LEVEL = env.text(
    "LOG_LEVEL", "INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"), help="The least level that is logged."
)
LOGGING_CONFIG = "logging.config.dictConfig"
LOGGING = logs.configuration(as_json=IS_PRODUCTION, level=LOG_LEVEL)

# -- Tokens and the plugin API

TOKEN_TTL_SECONDS = env.integer(
    "TOKEN_TTL_SECONDS",
    900,
    minimum=60,
    maximum=3600,
    help="How long a plugin token lives: three refresh intervals.",
)
REFRESH_INTERVAL_SECONDS = env.integer(
    "REFRESH_INTERVAL_SECONDS", 300, minimum=10, maximum=3600, help="How often an installed plugin refreshes."
)
REAUTHENTICATION_SECONDS = env.integer(
    "REAUTHENTICATION_SECONDS",
    86400,
    minimum=300,
    help="How long refreshing goes on before the key is asked for again.",
)
GRACE_SECONDS = env.integer(
    "GRACE_SECONDS",
    7 * 86400,
    help="How long after its period an active subscription still counts, unless set on it.",
)

RATE_LIMIT_PER_MINUTE = env.integer(
    "RATE_LIMIT_PER_MINUTE",
    60,
    maximum=60_000,
    help="Requests a minute that the plugin API takes from each installation; a customer may make that many times its "
    "installation limit. 0 switches the limits off.",
)
RATE_LIMIT_BURST = env.integer(
    "RATE_LIMIT_BURST", 30, minimum=1, maximum=60_000, help="How many of those may come at once."
)
CULL_AFTER_DAYS = env.integer(
    "CULL_AFTER_DAYS",
    30,
    help="Installations that were not heard of for so many days give their place back; 0: never.",
)
WEB_THREADS = env.integer(
    "WEB_THREADS",
    3,
    minimum=2,
    maximum=64,
    help="Threads of a web process that serve requests: what Granian is given as --blocking-threads.",
)
SNAPSHOT_CACHE_ENTRIES = env.integer(
    "SNAPSHOT_CACHE_ENTRIES",
    150_000 if ROLE in ("web", "files") else 0,
    help="Customers whose state a web process keeps in memory at most; 0 reads the database every time.",
)
SNAPSHOT_CACHE_MEGABYTES = env.integer(
    "SNAPSHOT_CACHE_MEGABYTES", 512, minimum=1, maximum=65536, help="Memory those snapshots may take at most."
)

# -- Metrics

METRICS_NETWORKS = env.networks(
    "METRICS_NETWORKS",
    "127.0.0.0/8 ::1/128",
    help="Addresses (CIDR) that may read /metrics; for all others there is no such path.",
)

# -- Registry

ARTIFACT_DIR = env.text(
    "ARTIFACT_DIR", str(BASE_DIR / ".artifacts"), help="The folder of artifacts, where they are not kept in S3."
)
ARTIFACT_S3_BUCKET = env.text("ARTIFACT_S3_BUCKET", help="Keep artifacts in this bucket instead of a folder.")
ARTIFACT_S3_ENDPOINT = env.text("ARTIFACT_S3_ENDPOINT", help="URL of the S3 service; empty: Amazon's own.")
ARTIFACT_S3_REGION = env.text("ARTIFACT_S3_REGION", help="Region of the bucket.")
ARTIFACT_S3_ACCESS_KEY = env.secret("ARTIFACT_S3_ACCESS_KEY", help="Access key id; empty: the machine's own role.")
ARTIFACT_S3_SECRET_KEY = env.secret("ARTIFACT_S3_SECRET_KEY", help="Secret access key that belongs to it.")
ARTIFACT_SPOOL_DIR = env.text(
    "ARTIFACT_SPOOL_DIR", help="Where uploads for S3 are spooled; empty: the system's temporary folder."
)
ARTIFACT_MAX_BYTES = env.integer(
    "ARTIFACT_MAX_BYTES", 2 * 1024**3, minimum=1024, maximum=5 * 1024**3, help="The largest file that is taken in."
)
FILES_URL = env.http_url(
    "FILES_URL", PUBLIC_URL, help="Where the `files` process is reached: download URLs are below this."
)
ALLOWED_HOSTS.append(urlsplit(FILES_URL).hostname or "")
DOWNLOAD_URL_SECONDS = env.integer(
    "DOWNLOAD_URL_SECONDS", 300, minimum=1, maximum=300, help="How long a download URL lives."
)
DOWNLOAD_ACCEL_PREFIX = env.text(
    "DOWNLOAD_ACCEL_PREFIX",
    help="Let the proxy send artifacts of the folder: the internal location for X-Accel-Redirect, such as /artifacts/.",
)
DOWNLOAD_S3_REDIRECT_SECONDS = env.integer(
    "DOWNLOAD_S3_REDIRECT_SECONDS",
    0,
    maximum=30,
    help="Let S3 send artifacts: how long the presigned link lives that a download is redirected to; 0: we send.",
)

# -- Build farm

BUILD_DIR = env.text(
    "BUILD_DIR",
    str(BASE_DIR / ".builds"),
    help="Where a build worker keeps sources, slots and its compiler cache; the users of slots must reach it.",
)
BUILD_CACHE_DIR = env.text("BUILD_CACHE_DIR", help="The compiler cache, if it is to be elsewhere than in BUILD_DIR.")
BUILD_SLOTS = env.integer("BUILD_SLOTS", 1, minimum=1, maximum=64, help="Builds at a time on one build machine.")
BUILD_BASE_UID = env.integer(
    "BUILD_BASE_UID", 64000, minimum=1000, help="The first of the users that builds run as, one for each slot."
)
BUILD_GO_ROOT = env.text("BUILD_GO_ROOT", help="GOROOT of the Go toolchain; empty: the installed wheel's or system's.")
BUILD_BUBBLEWRAP = env.text("BUILD_BUBBLEWRAP", help="The bubblewrap program; empty: the system's or wheel's.")
BUILD_CGROUP = env.text("BUILD_CGROUP", help="A delegated cgroup v2 folder for builds; empty: none.")
BUILD_SECONDS = env.integer("BUILD_SECONDS", 300, minimum=10, maximum=3600, help="How long one compile may take.")
BUILD_MEMORY_MEGABYTES = env.integer(
    "BUILD_MEMORY_MEGABYTES", 3072, minimum=256, maximum=65536, help="How much memory one compile may take."
)
BUILD_LEASE_SECONDS = env.integer(
    "BUILD_LEASE_SECONDS",
    60,
    minimum=2,
    maximum=3600,
    help="How long a build waits for a silent worker before another one takes it.",
)
BUILD_SIGNER = env.text(
    "BUILD_SIGNER", "build_farm.signing.local.LocalSigner", help="The class that signs (docs/builds.md)."
)
SOURCE_MAX_BYTES = env.integer(
    "SOURCE_MAX_BYTES", 64 * 1024**2, minimum=1024, maximum=1024**3, help="The largest source archive that is taken in."
)
REFUSE_UNDECLARED_CAPABILITIES = env.boolean(
    "REFUSE_UNDECLARED_CAPABILITIES",
    False,
    help="Refuse a release whose source can do what its keywright.toml does not declare, instead of reporting it.",
)

# -- Celery

CELERY_BROKER_URL = VALKEY_URL.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_DEFAULT_QUEUE = "control"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": "celery:",
    "visibility_timeout": 3600,
    # A message is a hint: who sends one waits no seconds for a Valkey that is away. Workers reconnect by themselves.
    "socket_connect_timeout": 1,
    "max_retries": 1,
    "interval_start": 0,
}
CELERY_TIMEZONE = "UTC"
CELERY_TASK_ROUTES = {
    "licensing.maintain_keys": {"queue": "sign"},
    "licensing.rotate_signing_key": {"queue": "sign"},
    "build_farm.build_next": {"queue": "build"},
    "build_farm.sign_waiting": {"queue": "sign"},
    "registry.sign_due": {"queue": "sign"},
}
# `expires`: a worker that was away makes up for it with one run, not with one for each tick it missed.
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "dispatch-outbox": {"task": "licensing.dispatch_outbox", "schedule": 2.0, "options": {"expires": 10}},
    "maintain-keys": {"task": "licensing.maintain_keys", "schedule": 60.0, "options": {"expires": 120}},
    "raise-key-alarm": {"task": "licensing.raise_key_alarm", "schedule": 600.0, "options": {"expires": 600}},
    "sweep-builds": {"task": "build_farm.sweep", "schedule": 5.0, "options": {"expires": 10}},
    "build-next": {"task": "build_farm.build_next", "schedule": 10.0, "options": {"expires": 10}},
    "sign-waiting": {"task": "build_farm.sign_waiting", "schedule": 10.0, "options": {"expires": 10}},
    "flush-usage": {"task": "licensing.flush_usage", "schedule": 10.0, "options": {"expires": 10}},
    "cull-silent": {"task": "licensing.cull_silent", "schedule": 300.0, "options": {"expires": 300}},
    "forget-generations": {"task": "licensing.forget_generations", "schedule": 3600.0, "options": {"expires": 3600}},
    "purge-usage-marks": {"task": "licensing.purge_usage_marks", "schedule": 3600.0, "options": {"expires": 3600}},
    "purge-outbox": {"task": "licensing.purge_outbox", "schedule": 3600.0, "options": {"expires": 3600}},
    "forget-old-answers": {"task": "core.forget_old_answers", "schedule": 3600.0, "options": {"expires": 3600}},
    "sign-due": {"task": "registry.sign_due", "schedule": 60.0, "options": {"expires": 120}},
    "forget-old-grants": {"task": "registry.forget_old_grants", "schedule": 3600.0, "options": {"expires": 3600}},
    "collect-artifacts": {"task": "registry.collect_artifacts", "schedule": 21600.0, "options": {"expires": 21600}},
}

# -- Management and account API

REST_FRAMEWORK: dict[str, Any] = {
    # No view is open by an oversight: each base names its own, and without a caller there is no answer.
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [],
    "DEFAULT_SCHEMA_CLASS": "licensing.core.api.schema.OperationSchema",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Keywright",
    "DESCRIPTION": "Licensing and subscription authentication for plugin vendors.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "PREPROCESSING_HOOKS": ["licensing.core.api.schema.documented_paths"],
    "POSTPROCESSING_HOOKS": ["licensing.core.api.schema.complete"],
    "DISABLE_ERRORS_AND_WARNINGS": False,
}
ACCOUNT_AUTHENTICATION = [
    "licensing.api.authentication.ApiKeyAuthentication",
    "accounts.api.authentication.PortalSessionAuthentication",
]

# What `check --deploy` and docs/configuration.md are held against: every setting read above.
DECLARED_SETTINGS = env.declared
