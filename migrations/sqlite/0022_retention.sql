-- What is let go is looked for by the artifact that names it: without these, each upload that is removed
-- reads every table that could name it. Kept in step with migrations/postgres/0022_retention.sql.
create index deployments_by_source on deployments (source_artifact)
    where source_artifact is not null;
create index plans_by_file on plans (plan_file);
create index plans_by_context on plans (context);
create index state_versions_by_artifact on state_versions (artifact);
create index state_orphans_by_artifact on state_orphans (artifact);
