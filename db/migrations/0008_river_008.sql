-- migrate:up

-- Version 8 of River's schema (job id autoincrement), in schema river.
-- Written by TestRiverMigrations -update; do not edit.
-- SPDX-License-Identifier: MPL-2.0 (github.com/riverqueue/river)

-- No-op. Postgres sequences already prevent automatically generated job IDs
-- from being reused.
SELECT 1;

-- migrate:down

-- No-op. Postgres sequences already prevent automatically generated job IDs
-- from being reused.
SELECT 1;
