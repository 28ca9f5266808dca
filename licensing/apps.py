from django.apps import AppConfig


class LicensingConfig(AppConfig):
    name = "licensing"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register what `check --deploy` looks at, and make our Celery application the one that tasks are sent by."""
        from licensing import celery, checks  # noqa: F401  both register by being imported
