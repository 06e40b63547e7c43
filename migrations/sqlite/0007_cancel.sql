-- The phases of a cancellation. Kept in step with migrations/postgres/0007_cancel.sql.

-- How far the stopping of what runs is.
alter table deployments add column cancel text;

-- Whether a running job is to be killed, not only asked to stop.
alter table jobs add column cancel_forced boolean not null default false;
