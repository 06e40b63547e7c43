-- What operators set for queues; fair order, versions and idempotency keys of jobs. Kept in step
-- with migrations/postgres/0002_queues.sql.

create table queues (
    name          text        not null primary key,
    paused_by     text,
    paused_at     text       ,
    pause_reason  text,
    cap           integer
);
insert into queues (name) values ('plan'), ('apply');

-- Workers leave jobs of a later version than they know to others.
alter table jobs add column version integer not null default 1;
-- A project's turn: the queue runs in the order of these, so that projects alternate.
alter table jobs add column turn bigint not null default 0;
alter table jobs add column idempotency_key text;
create unique index jobs_by_idempotency_key on jobs (idempotency_key);

drop index jobs_due;
create index jobs_due on jobs (queue, priority desc, turn, id) where state = 'queued';
create index jobs_turn on jobs (queue, project, turn) where state = 'queued';
create index jobs_running on jobs (queue) where state = 'running';
create index jobs_by_state on jobs (state, id);
-- Who waits for the same stack.
create index jobs_waiting_for_key on jobs (concurrency_key, turn, id) where state = 'queued';
