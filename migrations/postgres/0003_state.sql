-- The state backend: locks, versions that no run wrote, and states that were refused. Kept in step
-- with migrations/sqlite/0003_state.sql.

-- Who may write a stack's state right now. A lock of a run names its job's lease, and is worth
-- nothing when that is not alive any more.
create table state_locks (
    stack_id     uuid        not null primary key references stacks (id),
    lock_id      text        not null,
    info         text        not null,
    job_id       uuid,
    worker_id    uuid,
    epoch        bigint,
    held_by      text        not null,
    acquired_at  timestamptz not null
);

-- States that somebody wrote who might not: kept, because they may be the only record of something.
create table state_orphans (
    id          uuid        not null primary key,
    stack_id    uuid        not null references stacks (id),
    lineage     text        not null,
    serial      bigint      not null,
    resources   bigint      not null,
    artifact    uuid        not null references artifacts (id),
    digest      text        not null,
    reason      text        not null,
    lock_id     text,
    job_id      uuid,
    epoch       bigint,
    written_by  text        not null,
    created_at  timestamptz not null
);
create unique index state_orphans_once on state_orphans (stack_id, digest);

-- People and other tools write states too, and old versions are restored as new ones.
alter table state_versions alter column deployment_id drop not null;
alter table state_versions alter column epoch drop not null;
alter table state_versions add column origin text not null default 'run';
alter table state_versions alter column origin drop default;
alter table state_versions add column written_by text;
alter table state_versions add column restored_from bigint;
