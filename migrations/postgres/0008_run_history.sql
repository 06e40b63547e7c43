-- What past runs took. Kept in step with migrations/sqlite/0008_run_history.sql.

-- The newest runs of each stack and kind that finished. A job may be purged before its run is.
create table run_history (
    job_id         uuid    not null primary key,
    stack_id       uuid    not null references stacks (id),
    kind           text    not null,
    at             timestamptz not null,
    wall_ms        bigint  not null,
    peak_rss_bytes bigint,
    resources      bigint
);
create index run_history_by_stack on run_history (stack_id, kind, at);
