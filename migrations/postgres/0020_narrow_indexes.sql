-- Indexes that keep only the rows that are looked for by them. Kept in step with
-- migrations/sqlite/0020_narrow_indexes.sql.
--
-- Most jobs have no concurrency key, and a record has no place in the chain while it is written.
drop index jobs_one_running;
create unique index jobs_one_running on jobs (concurrency_key)
    where state = 'running' and concurrency_key is not null;
drop index jobs_waiting_for_key;
create index jobs_waiting_for_key on jobs (concurrency_key, turn, id)
    where state = 'queued' and concurrency_key is not null;
drop index audit_by_seq;
create unique index audit_by_seq on audit (seq) where seq is not null;
