from django.apps import AppConfig


class LicensingConfig(AppConfig):
    name = "licensing"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register what `check --deploy` looks at."""
        from licensing import checks  # noqa: F401  registers by being imported
