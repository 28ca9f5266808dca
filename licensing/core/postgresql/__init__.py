"""Django's PostgreSQL backend with an end to every wait: a database that does not answer costs no thread its life."""
