-- Checks for drift, and plans that nobody applies. Kept in step with
-- migrations/postgres/0014_drift.sql.

-- What is known of a stack's drift, and when it is looked at next. What is null of the settings is as
-- the installation has it.
create table drift (
    stack_id           blob        not null primary key references stacks (id),
    enabled            boolean,
    interval_s         integer,
    settings_version   integer     not null,
    -- Milliseconds of database time; null: not by itself.
    next_check_ms      integer,
    -- How many checks were begun.
    checks             integer     not null,
    -- The last one.
    job_id             blob,
    status             text        not null,
    since              text,
    checked_at         text,
    deployment_id      blob,
    -- What tells this drift from another one; null: none is known.
    fingerprint        text,
    report             text,
    failure            text,
    put_off            text
);
create index drift_due on drift (next_check_ms) where next_check_ms is not null;
create index drift_known on drift (stack_id) where fingerprint is not null;
create index drift_by_status on drift (status, stack_id);

-- Which state the plan of a deployment that only plans was made against, until the state has moved on.
alter table deployments add column watched_lineage text;
alter table deployments add column watched_serial integer;
alter table deployments add column stale text;
create index deployments_watched on deployments (stack_id) where watched_serial is not null;
