-- Tests of deployments, and the queue they run on. Kept in step with
-- migrations/sqlite/0010_tests.sql.

insert into queues (name) values ('test');

-- What was asked for, and what came of it. No report yet: the job says where it is.
create table test_reports (
    id             uuid        not null primary key,
    deployment_id  uuid        not null references deployments (id),
    plan_id        uuid,
    job_id         uuid        not null,
    settings       text        not null,
    requested_by   text        not null,
    content        text,
    created_at     timestamptz not null,
    ended_at       timestamptz
);
create index test_reports_by_deployment on test_reports (deployment_id, id);
create unique index test_reports_by_job on test_reports (job_id);
