-- The installation's own key, sealed: what must stay when the key ring is rotated is made with it.
-- Kept in step with migrations/sqlite/0004_house_keys.sql.

create table house_keys (
    name    text   not null primary key,
    sealed  bytea  not null
);
