-- Policy packs that users uploaded, and exemptions. Kept in step with
-- migrations/postgres/0013_policies.sql.

-- A pack; its number of versions only grows, so that no number is given out twice.
create table policies (
    name         text    not null primary key,
    last_version integer not null,
    created_at   text    not null
);

-- A version never changes. Texts, rules and files are JSON.
create table policy_versions (
    name         text    not null references policies (name),
    version      integer not null,
    digest       text    not null,
    modules      text    not null,
    files        text    not null,
    rules        text    not null,
    tests        integer not null,
    created_by   text    not null,
    created_at   text    not null,
    primary key (name, version)
);

-- Which settings name which pack; no version stands for the newest one.
create table policy_uses (
    holder       text    not null,
    name         text    not null,
    version      integer,
    primary key (holder, name)
);
create index policy_uses_by_name on policy_uses (name);

create table exemptions (
    id           blob    not null primary key,
    rule         text    not null,
    address      text    not null,
    project      text,
    environment  text,
    reason       text    not null,
    owner        text    not null,
    created_by   text    not null,
    created_at   text    not null,
    expires_at   text    not null,
    revoked_by   text,
    revoked_at   text
);
create index exemptions_by_expiry on exemptions (expires_at);
