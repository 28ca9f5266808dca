"""`manage.py publish_demo`: publish the demo plugin, and ask for it for both demo customers."""

import os
import platform
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand

from accounts.models import Customer
from build_farm.management.commands.publish import publish_folder
from build_farm.services.publish_source import PublishOptions
from build_farm.services.request_build import request_build
from licensing.core.actor import system
from licensing.demo import CUSTOMERS
from registry.errors import VersionExists
from registry.models import Release

DEMO: Final = Path(__file__).parents[2] / "demo" / "api-logger"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_ACTOR: Final = system("demo")


class Command(BaseCommand):
    """Safe to run again: what is there is left as it is."""

    help = "Publish the demo plugin from its source, and have it built for the demo customers in the background."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Building takes a while on a slow machine."""
        parser.add_argument("--no-builds", action="store_true", help="Publish alone; build when somebody asks.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Publish, then ask for the builds."""
        try:
            # The seed's bare request names no installation; the demo answers it as written.
            release = publish_folder(DEMO, PublishOptions(require_installation=False)).release
        except VersionExists:
            # An installation of before, whose demo plugin was another one: what was published stays.
            release = Release.objects.get(plugin="api-logger", version="2.1.0")
        if not options["no_builds"]:
            for customer in Customer.objects.filter(pk__in=CUSTOMERS):
                request_build(release=release, customer=customer, target=host_target(), actor=_ACTOR)
        self.stdout.write("The demo plugin is published.")


def host_target() -> str:
    """The target that runs on this machine, as far as the demo is made for it."""
    return f"linux/{_ARCHITECTURES.get(platform.machine(), 'amd64')}" if os.name == "posix" else "windows/amd64"
