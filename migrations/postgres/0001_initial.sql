-- Slipway's first schema. Kept in step with migrations/sqlite/0001_initial.sql: a test compares
-- tables, columns and nullability. Scheduling times (`*_ms`) are milliseconds of database time.

create table stacks (
    id                  uuid        not null primary key,
    project             text        not null,
    name                text        not null,
    environment         text        not null,
    driver              text        not null,
    current_deployment  uuid,
    state_lineage       text,
    state_serial        bigint,
    state_resources     bigint,
    state_artifact      uuid,
    created_at          timestamptz not null,
    updated_at          timestamptz not null,
    unique (project, name, environment)
);

create table artifacts (
    id          uuid        not null primary key,
    kind        text        not null,
    digest      text        not null,
    size_bytes  bigint      not null,
    -- Small ones are kept here, sealed, and so commit with what refers to them.
    body        bytea,
    -- Larger ones are objects; this is their place.
    location    text,
    created_at  timestamptz not null
);

create table deployments (
    id                  uuid        not null primary key,
    stack_id            uuid        not null references stacks (id),
    project             text        not null,
    stack_name          text        not null,
    environment         text        not null,
    driver              text        not null,
    operation           text        not null,
    state               text        not null,
    reason              text,
    source              text        not null,
    source_artifact     uuid,
    source_root         text,
    source_commit       text,
    variables           text        not null,
    variables_sealed    bytea       not null,
    options             text        not null,
    plan                text,
    approval            text,
    failure             text,
    outputs_sealed      bytea,
    cancel_requested_at timestamptz,
    phases              text        not null,
    submitted_by        text        not null,
    traceparent         text,
    version             bigint      not null,
    event_seq           bigint      not null,
    log_seq             bigint      not null,
    created_at          timestamptz not null,
    updated_at          timestamptz not null,
    ended_at            timestamptz,
    expires_at          timestamptz
);
create index deployments_by_stack on deployments (stack_id, id);
create index deployments_by_project on deployments (project, id);
create index deployments_by_state on deployments (state, id);
create index deployments_expiring on deployments (expires_at) where expires_at is not null;

create table plans (
    id                uuid        not null primary key,
    deployment_id     uuid        not null references deployments (id),
    number            integer     not null,
    digest            text        not null,
    binding           text        not null,
    document          text        not null,
    plan_file         uuid        not null references artifacts (id),
    context           uuid        not null references artifacts (id),
    created_at        timestamptz not null,
    unique (deployment_id, number)
);

create table state_versions (
    stack_id       uuid        not null references stacks (id),
    version        bigint      not null,
    lineage        text        not null,
    serial         bigint      not null,
    resources      bigint      not null,
    artifact       uuid        not null references artifacts (id),
    deployment_id  uuid        not null references deployments (id),
    epoch          bigint      not null,
    created_at     timestamptz not null,
    primary key (stack_id, version)
);

create table jobs (
    id                uuid        not null primary key,
    kind              text        not null,
    queue             text        not null,
    state             text        not null,
    deployment_id     uuid        not null references deployments (id),
    stack_id          uuid        not null references stacks (id),
    project           text        not null,
    priority          integer     not null,
    attempt           integer     not null,
    max_attempts      integer     not null,
    run_at_ms         bigint      not null,
    rung_at_ms        bigint,
    concurrency_key   text,
    worker_id         uuid,
    epoch             bigint      not null,
    lease_until_ms    bigint,
    cancel_requested  boolean     not null,
    soft_limit_s      integer     not null,
    hard_limit_s      integer     not null,
    traceparent       text,
    last_error        text,
    created_at        timestamptz not null,
    started_at        timestamptz,
    ended_at          timestamptz
);
create index jobs_due on jobs (queue, priority, run_at_ms) where state = 'queued';
create index jobs_leased on jobs (lease_until_ms) where state = 'running';
create index jobs_by_deployment on jobs (deployment_id, id);
-- One running job a key, whatever a claim may have overlooked.
create unique index jobs_one_running on jobs (concurrency_key) where state = 'running';

create table events (
    deployment_id  uuid        not null references deployments (id),
    seq            bigint      not null,
    kind           text        not null,
    body           text        not null,
    at             timestamptz not null,
    primary key (deployment_id, seq)
);

create table log_lines (
    deployment_id  uuid        not null references deployments (id),
    seq            bigint      not null,
    stream         text        not null,
    step           text        not null,
    text           text        not null,
    at             timestamptz not null,
    primary key (deployment_id, seq)
);

create table idempotency (
    principal     text        not null,
    operation     text        not null,
    key           text        not null,
    request_hash  text        not null,
    answer        text        not null,
    expires_at    timestamptz not null,
    primary key (principal, operation, key)
);
create index idempotency_expiring on idempotency (expires_at);

create table audit (
    id        uuid        not null primary key,
    at        timestamptz not null,
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
    id            uuid        not null primary key,
    host          text        not null,
    pid           bigint      not null,
    version       text        not null,
    queues        text        not null,
    draining      boolean     not null,
    started_at    timestamptz not null,
    heartbeat_ms  bigint      not null
);

-- Who runs a loop (relay, reaper …) that only one process at a time should run.
create table loop_leases (
    name            text   not null primary key,
    holder          uuid   not null,
    lease_until_ms  bigint not null
);
