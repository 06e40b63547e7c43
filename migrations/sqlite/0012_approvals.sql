-- Decisions about plans. Kept in step with migrations/postgres/0012_approvals.sql.

-- Every yes and no, with the digest that it named. A yes that was taken back stays.
create table approvals (
    id            blob    not null primary key,
    deployment_id blob    not null references deployments (id),
    plan_id       blob    not null,
    plan_digest   text    not null,
    decision      text    not null,
    actor         text    not null,
    roles         text    not null,
    comment       text,
    at            text    not null,
    expires_at    text,
    revoked_at    text,
    revoked_by    text,
    revoke_reason text,
    carried_from  text
);
create index approvals_by_deployment on approvals (deployment_id, id);
