-- Projects, and who is what in them. Kept in step with migrations/postgres/0018_members.sql.

create table projects (
    name        text    not null primary key,
    description text,
    created_by  text,
    created_at  text not null,
    updated_at  text not null,
    version     integer  not null
);

-- Projects were but names until now.
insert into projects (name, created_at, updated_at, version)
select project, min(created_at), min(created_at), 1 from stacks group by project;

-- What an account is in a project; an empty name stands for the whole house. Roles are JSON.
create table members (
    account_id  blob    not null,
    project     text    not null,
    roles       text    not null,
    changed_by  text    not null,
    created_at  text not null,
    updated_at  text not null,
    version     integer  not null,
    primary key (account_id, project)
);
create index members_by_project on members (project, account_id);

-- Who uploaded an archive; nobody where it is the house's own.
alter table artifacts add column owner text;
