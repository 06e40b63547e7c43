-- Slipway's first schema. Kept in step with migrations/postgres/0001_initial.sql: a test compares
-- tables, columns and nullability. Scheduling times (`*_ms`) are milliseconds of database time.

create table stacks (
    id                  blob        not null primary key,
    project             text        not null,
    name                text        not null,
    environment         text        not null,
    driver              text        not null,
    current_deployment  blob,
    state_lineage       text,
    state_serial        integer,
    state_resources     integer,
    state_artifact      blob,
    created_at          text        not null,
    updated_at          text        not null,
    unique (project, name, environment)
);

create table artifacts (
    id          blob        not null primary key,
    kind        text        not null,
    digest      text        not null,
    size_bytes  integer      not null,
    -- Small ones are kept here, sealed, and so commit with what refers to them.
    body        blob ,
    -- Larger ones are objects; this is their place.
    location    text,
    created_at  text        not null
);

create table deployments (
    id                  blob        not null primary key,
    stack_id            blob        not null references stacks (id),
    project             text        not null,
    stack_name          text        not null,
    environment         text        not null,
    driver              text        not null,
    operation           text        not null,
    state               text        not null,
    reason              text,
    source              text        not null,
    source_artifact     blob,
    source_root         text,
    source_commit       text,
    variables           text        not null,
    variables_sealed    blob        not null,
    options             text        not null,
    plan                text,
    approval            text,
    failure             text,
    outputs_sealed      blob ,
    cancel_requested_at text       ,
    phases              text        not null,
    submitted_by        text        not null,
    traceparent         text,
    version             integer      not null,
    event_seq           integer      not null,
    log_seq             integer      not null,
    created_at          text        not null,
    updated_at          text        not null,
    ended_at            text       ,
    expires_at          text       
);
create index deployments_by_stack on deployments (stack_id, id);
create index deployments_by_project on deployments (project, id);
create index deployments_by_state on deployments (state, id);
create index deployments_expiring on deployments (expires_at) where expires_at is not null;

create table plans (
    id                blob        not null primary key,
    deployment_id     blob        not null references deployments (id),
    number            integer     not null,
    digest            text        not null,
    binding           text        not null,
    document          text        not null,
    plan_file         blob        not null references artifacts (id),
    context           blob        not null references artifacts (id),
    created_at        text        not null,
    unique (deployment_id, number)
);

create table state_versions (
    stack_id       blob        not null references stacks (id),
    version        integer      not null,
    lineage        text        not null,
    serial         integer      not null,
    resources      integer      not null,
    artifact       blob        not null references artifacts (id),
    deployment_id  blob        not null references deployments (id),
    epoch          integer      not null,
    created_at     text        not null,
    primary key (stack_id, version)
);

create table jobs (
    id                blob        not null primary key,
    kind              text        not null,
    queue             text        not null,
    state             text        not null,
    deployment_id     blob        not null references deployments (id),
    stack_id          blob        not null references stacks (id),
    project           text        not null,
    priority          integer     not null,
    attempt           integer     not null,
    max_attempts      integer     not null,
    run_at_ms         integer      not null,
    rung_at_ms        integer,
    concurrency_key   text,
    worker_id         blob,
    epoch             integer      not null,
    lease_until_ms    integer,
    cancel_requested  boolean     not null,
    soft_limit_s      integer     not null,
    hard_limit_s      integer     not null,
    traceparent       text,
    last_error        text,
    created_at        text        not null,
    started_at        text       ,
    ended_at          text       
);
create index jobs_due on jobs (queue, priority, run_at_ms) where state = 'queued';
create index jobs_leased on jobs (lease_until_ms) where state = 'running';
create index jobs_by_deployment on jobs (deployment_id, id);
-- One running job a key, whatever a claim may have overlooked.
create unique index jobs_one_running on jobs (concurrency_key) where state = 'running';

create table events (
    deployment_id  blob        not null references deployments (id),
    seq            integer      not null,
    kind           text        not null,
    body           text        not null,
    at             text        not null,
    primary key (deployment_id, seq)
);

create table log_lines (
    deployment_id  blob        not null references deployments (id),
    seq            integer      not null,
    stream         text        not null,
    step           text        not null,
    text           text        not null,
    at             text        not null,
    primary key (deployment_id, seq)
);

create table idempotency (
    principal     text        not null,
    operation     text        not null,
    key           text        not null,
    request_hash  text        not null,
    answer        text        not null,
    expires_at    text        not null,
    primary key (principal, operation, key)
);
create index idempotency_expiring on idempotency (expires_at);

create table audit (
    id        blob        not null primary key,
    at        text        not null,
    actor     text        not null,
    address   text,
    action    text        not null,
    target    text        not null,
    result    text        not null,
    detail    text        not null,
    trace_id  text
);
create index audit_by_target on audit (target, id);

create table workers (
    id            blob        not null primary key,
    host          text        not null,
    pid           integer      not null,
    version       text        not null,
    queues        text        not null,
    draining      boolean     not null,
    started_at    text        not null,
    heartbeat_ms  integer      not null
);

-- Who runs a loop (relay, reaper …) that only one process at a time should run.
create table loop_leases (
    name            text   not null primary key,
    holder          blob   not null,
    lease_until_ms  integer not null
);
