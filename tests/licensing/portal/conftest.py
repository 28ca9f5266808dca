from tests.portal_fixtures import cast, committed_cast, jobs_run_at_once  # noqa: F401  pytest finds them here
