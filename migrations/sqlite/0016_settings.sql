-- Central configuration. Kept in step with migrations/postgres/0016_settings.sql.

-- An item. In a scope an empty name stands for all. Values and schemas are JSON; a secret has its
-- value in its versions only, sealed.
create table settings (
    id           blob    not null primary key,
    key          text    not null,
    project      text    not null,
    environment  text    not null,
    service      text    not null,
    kind         text    not null,
    value        text,
    schema       text,
    description  text,
    version      integer not null,
    created_at   text    not null,
    created_by   text    not null,
    updated_at   text    not null,
    updated_by   text    not null,
    deleted_at   text
);
-- One living item for a key in a scope.
create unique index settings_by_place on settings (project, environment, service, key)
    where deleted_at is null;
create index settings_by_key on settings (key);

-- A version never changes, but for the key that its secret is sealed under. `mac` tells whether two
-- versions of a secret are the same, to those who have the house's keys.
create table setting_versions (
    id           blob    not null primary key,
    setting_id   blob    not null references settings (id),
    version      integer not null,
    action       text    not null,
    value        text,
    sealed       blob,
    mac          text,
    schema       text,
    description  text,
    from_version integer,
    comment      text,
    at           text    not null,
    by_actor     text    not null
);
create unique index setting_versions_by_number on setting_versions (setting_id, version);
