-- The state backend: locks, versions that no run wrote, and states that were refused. Kept in step
-- with migrations/postgres/0003_state.sql.

-- Who may write a stack's state right now. A lock of a run names its job's lease, and is worth
-- nothing when that is not alive any more.
create table state_locks (
    stack_id     blob        not null primary key references stacks (id),
    lock_id      text        not null,
    info         text        not null,
    job_id       blob,
    worker_id    blob,
    epoch        integer,
    held_by      text        not null,
    acquired_at  text        not null
);

-- States that somebody wrote who might not: kept, because they may be the only record of something.
create table state_orphans (
    id          blob        not null primary key,
    stack_id    blob        not null references stacks (id),
    lineage     text        not null,
    serial      integer     not null,
    resources   integer     not null,
    artifact    blob        not null references artifacts (id),
    digest      text        not null,
    reason      text        not null,
    lock_id     text,
    job_id      blob,
    epoch       integer,
    written_by  text        not null,
    created_at  text        not null
);
create unique index state_orphans_once on state_orphans (stack_id, digest);

-- People and other tools write states too, and old versions are restored as new ones.
create table state_versions_new (
    stack_id       blob        not null references stacks (id),
    version        integer     not null,
    lineage        text        not null,
    serial         integer     not null,
    resources      integer     not null,
    artifact       blob        not null references artifacts (id),
    deployment_id  blob        references deployments (id),
    epoch          integer,
    origin         text        not null,
    written_by     text,
    restored_from  integer,
    created_at     text        not null,
    primary key (stack_id, version)
);
insert into state_versions_new
    select stack_id, version, lineage, serial, resources, artifact, deployment_id, epoch, 'run', null,
           null, created_at
    from state_versions;
drop table state_versions;
alter table state_versions_new rename to state_versions;
