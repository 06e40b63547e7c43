-- Recoveries of lost applies. Kept in step with migrations/sqlite/0005_recovery.sql.

-- Attempts to find out what a lost apply did. One without a verdict is under way.
create table recoveries (
    deployment_id  uuid        not null references deployments (id),
    number         bigint      not null,
    lost_job_id    uuid        not null,
    verdict        text,
    summary        text        not null,
    report         text,
    resolutions    text        not null,
    resolved_by    text,
    asked_at_ms    bigint      not null,
    created_at     timestamptz not null,
    ended_at       timestamptz,
    primary key (deployment_id, number)
);

-- The last epoch of which everything that the dead worker left on its machine was collected.
alter table jobs add column collected_epoch bigint;
