//! What workers and the relay ask of a long queue reads a few rows of it, whatever PostgreSQL knows
//! of the tables: on a new installation it knows nothing.

use sqlx::Connection as _;

use super::*;

/// Jobs that wait.
const BACKLOG: u16 = 2000;
/// Claims, of one job each and of several.
const CLAIMS: i64 = 20;
/// How many of a queue's first jobs the relay looks at.
const FRONT: i64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_and_the_relay_do_not_read_the_queue() {
    let rig = postgres().await;
    let url = rig.url.clone().unwrap();
    let of = deployment(&rig.store, "net").await;
    let jobs: Vec<_> = (0..BACKLOG).map(|_| new_job(&of, JobKind::Plan, 0)).collect();
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_jobs(&jobs, now()).await.unwrap();
    tx.commit().await.unwrap();

    let worker = worker();
    for round in 0..CLAIMS {
        let most = 1 + 3 * (round % 2);
        let claimed = rig.store.claim_jobs(Queue::Plan, worker, 60_000, most, now()).await.unwrap();
        let claimed = claimed.jobs;
        let mut tx = rig.store.begin().await.unwrap();
        assert_eq!(claimed.len(), usize::try_from(most).unwrap());
        let ids: Vec<_> = claimed.iter().map(|(job, _)| job.id).collect();
        for (_, lease) in &claimed {
            tx.fence(lease).await.unwrap();
        }
        assert_eq!(tx.beat_jobs(worker, 60_000, &ids).await.unwrap().len(), ids.len());
        for id in ids {
            tx.end_job(id, JobState::Succeeded, None, now()).await.unwrap();
        }
        let rung = tx.take_doorbells(-1, FRONT).await.unwrap();
        assert_eq!(i64::try_from(rung.len()).unwrap(), FRONT);
        tx.commit().await.unwrap();
    }
    // A connection that ends says what it has read.
    rig.store.close().await;
    let read = entries_read(&url).await;
    assert!(
        read < CLAIMS * 300,
        "{CLAIMS} claims with a look of the relay each read {read} entries"
    );
}

/// Plans of statements are made in the first uses of a connection, and then is when the queue was as
/// long as it happened to be. Here another project fills it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_planned_for_a_short_queue_does_not_read_a_long_one() {
    const STEP: usize = 25;
    /// So often a statement is planned anew; then PostgreSQL may keep a plan.
    const USES: usize = 7;
    let rig = postgres().await;
    let url = rig.url.clone().unwrap();
    let of = deployment(&rig.store, "net").await;
    let other = deployment(&rig.store, "other").await;
    let some = |count: usize, project: &str| {
        let one = || NewJob { project: project.into(), ..new_job(&other, JobKind::Plan, 0) };
        (0..count).map(|_| one()).collect::<Vec<_>>()
    };
    let fill = async |count: usize| {
        let mut tx = rig.store.begin().await.unwrap();
        tx.insert_jobs(&some(count, "large"), now()).await.unwrap();
        tx.commit().await.unwrap();
    };
    let work = async |store: &Store| {
        let asked = submit::made(&of, "shop", None);
        let mut tx = store.single().await.unwrap();
        let added = tx.submit(&[asked.asked()], now(), now()).await.unwrap();
        assert_eq!(added.len(), 1);
        tx.insert_jobs(&some(1, "shop"), now()).await.unwrap();
        tx.take_doorbells(-1, FRONT).await.unwrap();
        assert!(tx.queue_place(added[0]).await.unwrap().is_some());
        assert!(tx.hasten_apply(added[0]).await.unwrap().is_none());
        tx.cancel_jobs(added[0], now()).await.unwrap();
        assert_eq!(tx.withdraw_apply(added[0], "why", now()).await.unwrap(), 0);
        assert!(tx.waiting_for_key("no such key").await.unwrap().is_none());
        drop(tx);
        assert!(store.claim_job(Queue::Plan, worker(), 60_000, now()).await.unwrap().is_some());
    };
    let mut planned = Vec::new();
    for _ in 0..20 {
        let one = rig.opened_again().await;
        for _ in 0..USES {
            work(&one).await;
        }
        planned.push(one);
        fill(STEP).await;
    }
    fill(usize::from(BACKLOG)).await;
    // Connections tell what they have read once a second, with what they are asked next.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    for one in planned.iter().chain([&rig.store]) {
        one.single().await.unwrap().cancel_requested(JobId::new(&RandomMint)).await.unwrap();
    }
    let before = entries_read(&url).await;
    for one in &planned {
        work(one).await;
    }
    for one in &planned {
        one.close().await;
    }
    let read = entries_read(&url).await - before;
    // A place in the queue is counted.
    let few = i64::try_from(planned.len()).unwrap() * i64::from(BACKLOG) / 4;
    assert!(read < few, "{} rounds of work read {read} entries", planned.len());
}

/// How many entries of the indexes of jobs were read, as far as connections have told: they do that
/// when they have been idle for a while, and when they end.
async fn entries_read(url: &str) -> i64 {
    let mut db = sqlx::PgConnection::connect(url).await.unwrap();
    let mut last = -1;
    for _ in 0..50 {
        let read: i64 = sqlx::query_scalar(
            "select cast(coalesce(sum(idx_tup_read), 0) as bigint) from pg_stat_user_indexes
             where relname = 'jobs'",
        )
        .fetch_one(&mut db)
        .await
        .unwrap();
        if read > 0 && read == last {
            return read;
        }
        last = read;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    panic!("what was read is not known");
}
