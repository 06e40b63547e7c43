-- What the gates said about plans, and what they are to look for. Kept in step with
-- migrations/postgres/0009_gates.sql.

alter table plans add column judgement text;
alter table plans add column holds_until text;

-- Settings of the gates, for a project and an environment; an empty text stands for all.
create table gate_settings (
    project     text    not null,
    environment text    not null,
    document    text    not null,
    version     integer not null,
    updated_at  text    not null,
    updated_by  text    not null,
    primary key (project, environment)
);
