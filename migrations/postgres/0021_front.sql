-- The front of a queue is read from `jobs_due`. What is queued comes and goes faster than the table is
-- analysed, so PostgreSQL expects hardly any of it; then it takes through whichever index is a level
-- lower, sorts, and reads the whole queue. So no other index that finds what is queued is narrower than
-- that one. (`jobs_turn` is for the last of a project's jobs, `jobs_by_state` for lists.) Kept in step with
-- migrations/sqlite/0021_front.sql.
drop index jobs_turn;
create index jobs_turn on jobs (queue, project, priority, turn, id) where state = 'queued';
drop index jobs_by_state;
create index jobs_by_state on jobs (state, id) include (queue, priority, turn);
