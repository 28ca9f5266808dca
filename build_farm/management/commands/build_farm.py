"""`manage.py build_farm`: what the farm is doing, and whether this machine can build."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count

from accounts.models import Customer
from build_farm import selectors
from build_farm.compile import probe_compiler
from build_farm.models import Build
from build_farm.sandbox import SandboxUnavailable, SlotsBusy
from build_farm.services.request_build import MassRebuild, rebuild_for_customer, rebuild_for_release
from build_farm.workplace import configured_workplace
from licensing.core.actor import system
from licensing.core.errors import DomainError
from registry.models import Release


class Command(BaseCommand):
    """`status`, `probe`, `rebuild-customer ID`, `rebuild-release PLUGIN VERSION`, `progress BATCH`."""

    help = "Look at the queue, try the sandbox out, or have many builds made again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One verb, and what it is about."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("status", help="Builds by state, and the next in the queue.")
        verbs.add_parser("probe", help="Run the compiler in the sandbox, as a build would be run.")
        verbs.add_parser("rebuild-customer", help="Make everything of a customer again.").add_argument("customer")
        release = verbs.add_parser("rebuild-release", help="Make a release again for everybody who has its plugin.")
        release.add_argument("plugin")
        release.add_argument("version")
        verbs.add_parser("progress", help="How far a mass rebuild is.").add_argument("batch")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what the verb says."""
        verb = str(options["verb"]).replace("-", "_")
        try:
            getattr(self, f"_{verb}")(options)
        except DomainError as exc:
            raise CommandError(exc.detail) from exc

    def _status(self, _options: dict[str, Any]) -> None:
        for state, number in Build.objects.values_list("state").annotate(Count("id")).order_by("state"):
            self.stdout.write(f"  {state:<12} {number}")
        for row in selectors.all_builds().filter(state__in=[Build.State.BUILDING, Build.State.SIGNING]):
            self.stdout.write(f"  {row.id} {row.state} for {row.customer_id}, attempt {row.attempt}")

    def _probe(self, _options: dict[str, Any]) -> None:
        try:
            workplace = configured_workplace()
            with workplace.pool.take() as slot:
                result = probe_compiler(slot=slot, toolchain=workplace.toolchain, settings=workplace.sandbox)
        except (SandboxUnavailable, SlotsBusy, OSError) as exc:
            raise CommandError(f"This machine cannot build: {exc}") from exc
        if not result.succeeded:
            raise CommandError(f"The compiler does not run in the sandbox: {result.log}")
        uid = f"user {result.uid}" if result.dropped_uid else "this process's own user (not root: no user of its own)"
        self.stdout.write(f"{result.log.strip()}, in the sandbox as {uid}{', in a cgroup' if result.cgroup else ''}.")

    def _rebuild_customer(self, options: dict[str, Any]) -> None:
        customer = Customer.objects.filter(pk=options["customer"]).first()
        if customer is None:
            raise CommandError("There is no such customer.")
        self._say(rebuild_for_customer(customer=customer, actor=system("build_farm")))

    def _rebuild_release(self, options: dict[str, Any]) -> None:
        release = Release.objects.filter(plugin=options["plugin"], version=options["version"]).first()
        if release is None:
            raise CommandError("There is no such release.")
        self._say(rebuild_for_release(release=release, actor=system("build_farm")))

    def _progress(self, options: dict[str, Any]) -> None:
        found = selectors.progress(options["batch"], now=datetime.now(UTC))
        for state, number in sorted(found.by_state.items()):
            self.stdout.write(f"  {state:<12} {number} of {found.total}")
        if found.seconds_left is not None:
            self.stdout.write(f"  about {found.seconds_left:.0f} s left")

    def _say(self, made: MassRebuild) -> None:
        self.stdout.write(f"{made.batch}: {made.queued} queued, {made.joined} were on their way already.")
