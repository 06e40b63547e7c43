-- Who can sign in, and with what. Secrets are kept as digests, private keys sealed. Kept in step
-- with migrations/sqlite/0019_identity.sql.

create table accounts (
    id           uuid    not null primary key,
    kind         text    not null,
    name         text    not null unique,
    email        text,
    created_at   timestamptz   not null,
    created_by   text    not null,
    disabled_at  timestamptz
);

-- Hashes say their own parameters (PHC strings).
create table passwords (
    account_id   uuid    not null primary key references accounts (id),
    hash         text    not null,
    changed_at   timestamptz   not null
);

-- Which account somebody has at a provider; the provider's own number of them, never an address.
create table identities (
    provider     text    not null,
    issuer       text    not null,
    subject      text    not null,
    account_id   uuid    not null references accounts (id),
    email        text,
    created_at   timestamptz   not null,
    primary key (provider, issuer, subject)
);
create index identities_by_account on identities (account_id);

-- One sign-in. A browser's is known by the digest of its cookie.
create table sessions (
    id           uuid    not null primary key,
    account_id   uuid    not null references accounts (id),
    method       text    not null,
    scopes       text,
    project      text,
    cookie_hash  text,
    address      text,
    user_agent   text,
    created_at   timestamptz   not null,
    last_used_at timestamptz   not null,
    expires_at   timestamptz   not null,
    ended_at     timestamptz,
    ended_why    text
);
create unique index sessions_by_cookie on sessions (cookie_hash);
create index sessions_by_account on sessions (account_id, id);
create index sessions_by_expiry on sessions (expires_at);

create table refresh_tokens (
    hash         text    not null primary key,
    session_id   uuid    not null references sessions (id) on delete cascade,
    expires_at   timestamptz   not null,
    used_at      timestamptz
);
create index refresh_tokens_by_session on refresh_tokens (session_id);

create table api_keys (
    id           uuid    not null primary key,
    public       text    not null unique,
    hash         text    not null,
    account_id   uuid    not null references accounts (id),
    name         text    not null,
    scopes       text    not null,
    project      text,
    addresses    text    not null,
    created_at   timestamptz   not null,
    created_by   text    not null,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
create index api_keys_by_account on api_keys (account_id, id);

-- Who fails to sign in waits, by digest of the name and the address.
create table sign_in_failures (
    digest       text    not null primary key,
    failures     integer not null,
    last_at      timestamptz   not null,
    wait_until   timestamptz   not null
);

-- Sign-ins at a provider that have begun. Good for one return, by the browser that began.
create table provider_visits (
    state_hash   text    not null primary key,
    cookie_hash  text    not null,
    provider     text    not null,
    account_id   uuid references accounts (id),
    session_id   uuid,
    return_to    text    not null,
    expires_at   timestamptz   not null
);

-- Tokens that make the first admin.
create table first_tokens (
    hash         text    not null primary key,
    expires_at   timestamptz   not null
);

-- Whose tokens of a foreign issuer stand for which service account. Conditions and scopes are JSON.
create table trust_rules (
    id           uuid    not null primary key,
    name         text    not null unique,
    issuer       text    not null,
    audience     text    not null,
    conditions   text    not null,
    account_id   uuid    not null references accounts (id),
    scopes       text    not null,
    project      text,
    created_at   timestamptz   not null,
    created_by   text    not null
);
create index trust_rules_by_issuer on trust_rules (issuer);

-- Keys that sign access tokens. `slot` is `current`, `next`, or the name of a retired key.
create table signing_keys (
    id           uuid    not null primary key,
    kid          text    not null unique,
    slot         text    not null unique,
    public_key   text    not null,
    sealed       bytea   not null,
    created_at   timestamptz   not null,
    signs_from   timestamptz,
    retired_at   timestamptz
);
