//! The database as it is opened: its keys, its schema, its files.

use super::*;

on_both_engines! {
    two_processes_may_open_the_same_database_at_once,
    keys_that_do_not_fit_are_noticed_and_looking_changes_nothing,
}

fn options(database: DatabaseUrl, rig: &Rig) -> Options {
    Options {
        database,
        max_connections: 2,
        connect_timeout: Duration::from_secs(20),
        artifacts_dir: rig.dir.path().join("artifacts"),
        inline_max_bytes: 4096,
    }
}

async fn two_processes_may_open_the_same_database_at_once(rig: Rig) {
    let database = if let Some(url) = &rig.url {
        let mut db = sqlx::PgConnection::connect(url).await.unwrap();
        db.execute("drop schema public cascade; create schema public").await.unwrap();
        DatabaseUrl::Postgres(url.clone())
    } else {
        DatabaseUrl::Sqlite(rig.dir.path().join("other.db"))
    };
    let options = options(database, &rig);
    let ring = Keyring::generate().unwrap();
    let open = || Store::open(&options, Keyring::parse(&ring).unwrap());
    // Each of them finds nothing there, and makes it.
    let (one, other) = tokio::join!(open(), open());
    let (one, other) = (one.unwrap(), other.unwrap());
    let record = deployment(&one, "net").await;
    let mut tx = other.read().await.unwrap();
    assert!(tx.deployment(record.deployment.id).await.unwrap().is_some());
    drop(tx);
    one.close().await;
    assert!(one.ping().await.is_err(), "closed is closed");
    other.ping().await.unwrap();
}

async fn keys_that_do_not_fit_are_noticed_and_looking_changes_nothing(rig: Rig) {
    let database = match &rig.url {
        Some(url) => DatabaseUrl::Postgres(url.clone()),
        None => DatabaseUrl::Sqlite(rig.dir.path().join("test.db")),
    };
    let options = options(database, &rig);
    let others = || Keyring::parse(&Keyring::generate().unwrap()).unwrap();
    rig.store.check_keys().await.unwrap();
    assert!(
        Store::look(&options, others()).await.is_err(),
        "the house key is sealed from the start"
    );
    deployment(&rig.store, "net").await;
    let error = Store::look(&options, others()).await.unwrap_err();
    assert!(error.to_string().contains("key"), "{error}");
    let empty = if rig.url.is_some() {
        postgres_url().await
    } else {
        let path = rig.dir.path().join("empty.db");
        std::fs::write(&path, b"").unwrap();
        DatabaseUrl::Sqlite(path)
    };
    let options = Options { database: empty, ..options };
    let missing = Store::look(&options, others()).await.unwrap();
    assert!(missing >= 2, "{missing}");
    assert_eq!(Store::look(&options, others()).await.unwrap(), missing, "they are still missing");
}

/// SQLite makes two files beside the database, with the database's mode.
#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_a_sqlite_database() {
    use std::os::unix::fs::PermissionsExt as _;
    let rig = sqlite().await;
    deployment(&rig.store, "net").await;
    let mut seen = 0;
    for item in std::fs::read_dir(rig.dir.path()).unwrap() {
        let item = item.unwrap();
        if item.file_name().to_string_lossy().starts_with("test.db") {
            seen += 1;
            let mode = item.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", item.file_name());
        }
    }
    assert_eq!(seen, 3, "the database, its log and its index");
}

/// Both folders of migrations make the same tables, columns and nullability.
#[tokio::test]
async fn both_engines_have_the_same_schema() {
    type Column = (String, String, bool);
    let (sqlite, postgres) = (sqlite().await, postgres().await);
    let lite: Vec<Column> = {
        let path = sqlite.dir.path().join("test.db");
        let mut c = sqlx::SqliteConnection::connect(&path.to_string_lossy()).await.unwrap();
        let rows: Vec<(String, String, bool, i64)> = sqlx::query_as(
            "select m.name, c.name, c.\"notnull\", c.pk from sqlite_master m
             join pragma_table_info(m.name) c where m.type = 'table' and m.name not like '\\_%' escape '\\'
               and m.name not like 'sqlite%' order by 1, 2",
        )
        .fetch_all(&mut c)
        .await
        .unwrap();
        rows.into_iter().map(|(t, c, not_null, _)| (t, c, not_null)).collect()
    };
    let mut c = sqlx::PgConnection::connect(postgres.url.as_ref().unwrap()).await.unwrap();
    let pg: Vec<Column> = sqlx::query_as(
        "select table_name::text, column_name::text, is_nullable = 'NO'
         from information_schema.columns
         where table_schema = 'public' and table_name not like '\\_%' order by 1, 2",
    )
    .fetch_all(&mut c)
    .await
    .unwrap();
    let sorted = |mut columns: Vec<Column>| {
        columns.sort();
        columns
    };
    let (lite, pg) = (sorted(lite), sorted(pg));
    assert!(lite.len() > 80, "{}", lite.len());
    assert_eq!(lite, pg);
}
