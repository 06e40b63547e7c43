-- Decisions about plans. Kept in step with migrations/sqlite/0012_approvals.sql.

-- Every yes and no, with the digest that it named. A yes that was taken back stays.
create table approvals (
    id            uuid    not null primary key,
    deployment_id uuid    not null references deployments (id),
    plan_id       uuid    not null,
    plan_digest   text    not null,
    decision      text    not null,
    actor         text    not null,
    roles         text    not null,
    comment       text,
    at            timestamptz not null,
    expires_at    timestamptz,
    revoked_at    timestamptz,
    revoked_by    text,
    revoke_reason text,
    carried_from  text
);
create index approvals_by_deployment on approvals (deployment_id, id);
