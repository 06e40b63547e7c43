-- Recoveries of lost applies. Kept in step with migrations/postgres/0005_recovery.sql.

-- Attempts to find out what a lost apply did. One without a verdict is under way.
create table recoveries (
    deployment_id  blob        not null references deployments (id),
    number         integer     not null,
    lost_job_id    blob        not null,
    verdict        text,
    summary        text        not null,
    report         text,
    resolutions    text        not null,
    resolved_by    text,
    asked_at_ms    integer     not null,
    created_at     text        not null,
    ended_at       text,
    primary key (deployment_id, number)
);

-- The last epoch of which everything that the dead worker left on its machine was collected.
alter table jobs add column collected_epoch integer;
