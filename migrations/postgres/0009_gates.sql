-- What the gates said about plans, and what they are to look for. Kept in step with
-- migrations/sqlite/0009_gates.sql.

alter table plans add column judgement text;
alter table plans add column holds_until timestamptz;

-- Settings of the gates, for a project and an environment; an empty text stands for all.
create table gate_settings (
    project     text    not null,
    environment text    not null,
    document    text    not null,
    version     bigint  not null,
    updated_at  timestamptz not null,
    updated_by  text    not null,
    primary key (project, environment)
);

-- The exemptions that what was said about a plan rests on.
create table plan_exemptions (
    plan_id      uuid    not null references plans (id),
    exemption_id uuid    not null,
    primary key (plan_id, exemption_id)
);
create index plan_exemptions_by_exemption on plan_exemptions (exemption_id);
