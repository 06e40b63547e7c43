-- What past runs took. Kept in step with migrations/postgres/0008_run_history.sql.

-- The newest runs of each stack and kind that finished. A job may be purged before its run is.
create table run_history (
    job_id         blob    not null primary key,
    stack_id       blob    not null references stacks (id),
    kind           text    not null,
    at             text    not null,
    wall_ms        integer not null,
    peak_rss_bytes integer,
    resources      integer
);
create index run_history_by_stack on run_history (stack_id, kind, at);
