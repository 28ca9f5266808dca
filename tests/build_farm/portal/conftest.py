"""The portal's cast, as the other pages' tests have it."""

from tests.licensing.portal.conftest import _jobs_run_at_once, cast, committed_cast

__all__ = ["_jobs_run_at_once", "cast", "committed_cast"]
