-- The last of a project's jobs is found with its priority. (On PostgreSQL there is more to it.) Kept in
-- step with migrations/postgres/0021_front.sql.
drop index jobs_turn;
create index jobs_turn on jobs (queue, project, priority, turn, id) where state = 'queued';
