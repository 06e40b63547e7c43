-- The audit log as a chain. Kept in step with migrations/sqlite/0017_audit_chain.sql.
alter table audit add column token text;
alter table audit add column user_agent text;
alter table audit add column reason text;
alter table audit add column before_digest text;
alter table audit add column after_digest text;
-- A keyed digest of the record, made when it was written.
alter table audit add column mark text;
-- The place in the chain; none until it is sealed.
alter table audit add column seq bigint;
alter table audit add column prev_hash text;
alter table audit add column hash text;
create unique index audit_by_seq on audit (seq);
create index audit_unsealed on audit (id) where seq is null;
create index audit_by_action on audit (action, id);

-- The end of the chain, and the record that retention let go last; one row.
create table audit_chain (
    id           bigint      not null primary key,
    seq          bigint      not null,
    hash         text        not null,
    pruned_seq   bigint      not null,
    pruned_hash  text        not null,
    unmarked     bigint      not null,
    at           timestamptz not null,
    public_key   text        not null,
    signature    text        not null
);
insert into audit_chain
    select 1, 0, repeat('0', 64), 0, repeat('0', 64), count(*),
           '2000-01-01T00:00:00Z', '', ''
    from audit;

-- What the chain was from time to time.
create table audit_checkpoints (
    seq          bigint      not null primary key,
    hash         text        not null,
    pruned_seq   bigint      not null,
    pruned_hash  text        not null,
    unmarked     bigint      not null,
    at           timestamptz not null,
    public_key   text        not null,
    signature    text        not null
);

create function audit_guard() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if old.seq is not null and old.seq <= (select pruned_seq from audit_chain) then
            return old;
        end if;
        raise exception 'records of the audit log are let go by retention only';
    end if;
    if old.seq is null and new.seq is not null and new.prev_hash is not null
       and new.hash is not null
       and (new.id, new.at, new.actor, new.action, new.target, new.result, new.detail)
           = (old.id, old.at, old.actor, old.action, old.target, old.result, old.detail)
       and (new.token, new.address, new.user_agent, new.reason, new.trace_id, new.before_digest,
            new.after_digest, new.mark)
           is not distinct from (old.token, old.address, old.user_agent, old.reason, old.trace_id,
            old.before_digest, old.after_digest, old.mark) then
        return new;
    end if;
    raise exception 'records of the audit log are never changed';
end $$;
create trigger audit_guard before update or delete on audit
    for each row execute function audit_guard();

create function audit_chain_guard() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and new.id = old.id and new.seq >= old.seq
       and new.pruned_seq >= old.pruned_seq and new.pruned_seq <= new.seq
       and new.unmarked = old.unmarked then
        return new;
    end if;
    raise exception 'the audit chain only goes on';
end $$;
create trigger audit_chain_guard before update or delete on audit_chain
    for each row execute function audit_chain_guard();

create function audit_checkpoint_guard() returns trigger language plpgsql as $$
begin
    raise exception 'checkpoints of the audit log stay as they are';
end $$;
create trigger audit_checkpoint_guard before update or delete on audit_checkpoints
    for each row execute function audit_checkpoint_guard();

create trigger audit_truncate before truncate on audit
    for each statement execute function audit_checkpoint_guard();
create trigger audit_chain_truncate before truncate on audit_chain
    for each statement execute function audit_checkpoint_guard();
create trigger audit_checkpoints_truncate before truncate on audit_checkpoints
    for each statement execute function audit_checkpoint_guard();
