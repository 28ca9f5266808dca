"""The portal's cast, as the other pages' tests have it."""

from tests.portal_fixtures import cast, committed_cast, jobs_run_at_once

__all__ = ["cast", "committed_cast", "jobs_run_at_once"]
