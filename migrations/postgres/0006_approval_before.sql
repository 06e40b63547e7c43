-- Approvals that outlive a plan. Kept in step with migrations/sqlite/0006_approval_before.sql.

-- The approval of a plan that turned stale, until its new plan is compared with it.
alter table deployments add column approval_before text;
