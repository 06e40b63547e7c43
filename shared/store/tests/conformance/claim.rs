//! Which claims, and which leases, wait for PostgreSQL's disk. SQLite knows no such difference.

use super::*;

/// Of a row of `jobs` that was written: the state it was brought to, and `synchronous_commit` as it
/// was when its unit of work was committed.
type Done = (String, String);

/// A store with one connection, so that whoever comes next finds what was left on it; and a
/// connection of the test's own to its database. That database has `synchronous_commit = local`
/// unless it is told otherwise, which no server has by itself.
async fn watched() -> (Rig, sqlx::PgConnection) {
    let dir = tempfile::tempdir().unwrap();
    let database = postgres_url().await;
    let DatabaseUrl::Postgres(url) = &database else { unreachable!() };
    let mut c = sqlx::PgConnection::connect(url).await.unwrap();
    // It holds for those who connect from now on.
    c.execute(
        "do $$ begin
             execute format('alter database %I set synchronous_commit = local', current_database());
         end $$",
    )
    .await
    .unwrap();
    let rig = open_with(database, dir, 1).await;
    // Deferred, so that it looks when all else of the unit of work is done and nothing but its
    // commit is left.
    sqlx::raw_sql(
        "create table done (id bigserial primary key, state text, how text);
         create function look() returns trigger language plpgsql as $$ begin
             insert into done (state, how)
             values (coalesce(to_jsonb(new) ->> 'state', tg_table_name),
                     current_setting('synchronous_commit'));
             return null;
         end $$;
         create constraint trigger look after insert or update on loop_leases
             deferrable initially deferred for each row execute function look();
         create constraint trigger look after update on jobs deferrable initially deferred
             for each row execute function look()",
    )
    .execute(&mut c)
    .await
    .unwrap();
    (rig, c)
}

/// What was done since it was asked last, in order.
async fn done(c: &mut sqlx::PgConnection) -> Vec<Done> {
    let mut done: Vec<(i64, String, String)> =
        sqlx::query_as("delete from done returning id, state, how").fetch_all(c).await.unwrap();
    done.sort_unstable();
    done.into_iter().map(|(_, state, how)| (state, how)).collect()
}

fn kept(state: &str, how: &str) -> Done {
    (state.to_owned(), how.to_owned())
}

async fn end(store: &Store, lease: Lease) {
    let mut tx = store.begin().await.unwrap();
    tx.fence(&lease).await.unwrap();
    tx.end_job(lease.job_id, JobState::Succeeded, None, now()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_of_a_plan_does_not_wait_for_the_disk_and_nothing_else_follows_it_in_that() {
    let (rig, mut c) = watched().await;
    let store = &rig.store;
    let of = deployment(store, "net").await;
    // A queue with a cap is claimed from in another way.
    for cap in [None, Some(5)] {
        let mut tx = store.begin().await.unwrap();
        for &queue in Queue::ALL {
            tx.set_cap(queue, cap).await.unwrap();
        }
        tx.commit().await.unwrap();
        for &kind in JobKind::ALL {
            job(store, &of, kind, 0).await;
            // Right behind a claim of a plan, on the same connection.
            job(store, &of, JobKind::Plan, 0).await;
            let plan = claim(store, Queue::Plan, worker(), 60_000).await.unwrap();
            let how = if kind.queue() == Queue::Plan { "off" } else { "local" };
            let next = claim(store, kind.queue(), worker(), 60_000).await.unwrap();
            assert_eq!(
                done(&mut c).await,
                [kept("running", "off"), kept("running", how)],
                "{kind} {cap:?}"
            );
            for lease in [plan, next] {
                end(store, lease).await;
                assert_eq!(done(&mut c).await, [kept("succeeded", "local")], "{kind} {cap:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_of_a_loop_does_not_wait_for_the_disk() {
    let (rig, mut c) = watched().await;
    let (one, other) = (worker(), worker());
    for (holder, taken) in [(one, true), (one, true), (other, false)] {
        assert_eq!(rig.store.take_loop_lease("reap", holder, 60_000).await.unwrap(), taken);
        let written: Vec<_> = taken.then(|| kept("loop_leases", "off")).into_iter().collect();
        assert_eq!(done(&mut c).await, written);
    }
    let of = deployment(&rig.store, "net").await;
    job(&rig.store, &of, JobKind::Plan, 0).await;
    let lease = claim(&rig.store, Queue::Plan, one, 60_000).await.unwrap();
    done(&mut c).await;
    end(&rig.store, lease).await;
    assert_eq!(done(&mut c).await, [kept("succeeded", "local")], "what follows does");
}
