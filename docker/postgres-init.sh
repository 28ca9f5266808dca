#!/bin/bash
# Run once by the PostgreSQL image, on an empty data directory: the three roles of Keywright and its database.
# Passwords come from files and reach psql on its standard input: neither a command line nor the environment shows them.
set -euo pipefail

escaped() {
	local text
	text=$(<"/run/secrets/$1")
	printf %s "${text//\'/\'\'}"
}

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<SQL
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET password_encryption = 'scram-sha-256';
CREATE ROLE keywright_owner LOGIN PASSWORD '$(escaped database_owner_password)';
CREATE ROLE keywright_web   LOGIN PASSWORD '$(escaped database_web_password)';
CREATE ROLE keywright_sign  LOGIN PASSWORD '$(escaped database_sign_password)';
CREATE DATABASE keywright OWNER keywright_owner;
REVOKE ALL ON DATABASE keywright FROM PUBLIC;
GRANT CONNECT ON DATABASE keywright TO keywright_web, keywright_sign;
SQL
