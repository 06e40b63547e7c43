-- The audit log as a chain. Kept in step with migrations/postgres/0017_audit_chain.sql.
alter table audit add column token text;
alter table audit add column user_agent text;
alter table audit add column reason text;
alter table audit add column before_digest text;
alter table audit add column after_digest text;
-- A keyed digest of the record, made when it was written.
alter table audit add column mark text;
-- The place in the chain; none until it is sealed.
alter table audit add column seq integer;
alter table audit add column prev_hash text;
alter table audit add column hash text;
create unique index audit_by_seq on audit (seq);
create index audit_unsealed on audit (id) where seq is null;
create index audit_by_action on audit (action, id);

-- The end of the chain, and the record that retention let go last; one row.
create table audit_chain (
    id           integer not null primary key,
    seq          integer not null,
    hash         text    not null,
    pruned_seq   integer not null,
    pruned_hash  text    not null,
    unmarked     integer not null,
    at           text    not null,
    public_key   text    not null,
    signature    text    not null
);
insert into audit_chain
    select 1, 0, printf('%064d', 0), 0, printf('%064d', 0), count(*), '2000-01-01T00:00:00+00:00', '', ''
    from audit;

-- What the chain was from time to time.
create table audit_checkpoints (
    seq          integer not null primary key,
    hash         text    not null,
    pruned_seq   integer not null,
    pruned_hash  text    not null,
    unmarked     integer not null,
    at           text    not null,
    public_key   text    not null,
    signature    text    not null
);

create trigger audit_guard_update before update on audit
when not (old.seq is null and new.seq is not null and new.prev_hash is not null
    and new.hash is not null and new.id = old.id and new.at = old.at and new.actor = old.actor
    and new.action = old.action and new.target = old.target and new.result = old.result
    and new.detail = old.detail and new.token is old.token and new.address is old.address
    and new.user_agent is old.user_agent and new.reason is old.reason
    and new.trace_id is old.trace_id and new.before_digest is old.before_digest
    and new.after_digest is old.after_digest and new.mark is old.mark)
begin
    select raise(abort, 'records of the audit log are never changed');
end;
create trigger audit_guard_delete before delete on audit
when old.seq is null or old.seq > (select pruned_seq from audit_chain)
begin
    select raise(abort, 'records of the audit log are let go by retention only');
end;

create trigger audit_chain_guard_update before update on audit_chain
when not (new.id = old.id and new.seq >= old.seq and new.pruned_seq >= old.pruned_seq
    and new.pruned_seq <= new.seq and new.unmarked = old.unmarked)
begin
    select raise(abort, 'the audit chain only goes on');
end;
create trigger audit_chain_guard_delete before delete on audit_chain
begin
    select raise(abort, 'the audit chain only goes on');
end;

create trigger audit_checkpoint_guard_update before update on audit_checkpoints
begin
    select raise(abort, 'checkpoints of the audit log stay as they are');
end;
create trigger audit_checkpoint_guard_delete before delete on audit_checkpoints
begin
    select raise(abort, 'checkpoints of the audit log stay as they are');
end;
