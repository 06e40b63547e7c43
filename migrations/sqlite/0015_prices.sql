-- Price files of vendors that were imported. Kept in step with migrations/postgres/0015_prices.sql.

-- A file never changes. Its rows are CSV; days are texts, 2026-01-31.
create table price_files (
    id           blob    not null primary key,
    format       text    not null,
    source       text    not null,
    as_of        text    not null,
    digest       text    not null unique,
    taken        integer not null,
    oldest       text    not null,
    newest       text    not null,
    skipped      text    not null,
    content      text    not null,
    created_by   text    not null,
    created_at   text          not null
);
