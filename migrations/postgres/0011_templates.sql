-- Published templates and their versions. Kept in step with migrations/sqlite/0011_templates.sql.

create table templates (
    name          text        not null primary key,
    title         text        not null,
    description   text        not null,
    category      text,
    labels        text        not null,
    -- The last number that was given to a version; numbers are not given out twice.
    last_version  integer     not null,
    created_at    timestamptz not null,
    updated_at    timestamptz not null
);

-- What a version consists of never changes; only whether it is offered does.
create table template_versions (
    name               text        not null references templates (name),
    version            integer     not null,
    digest             text        not null,
    archive            uuid        not null references artifacts (id),
    inputs             text        not null,
    deprecated_at      timestamptz,
    deprecated_reason  text,
    published_by       text        not null,
    published_at       timestamptz not null,
    primary key (name, version)
);
create index template_versions_by_archive on template_versions (archive);
