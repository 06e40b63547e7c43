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

    let mut db = sqlx::PgConnection::connect(&url).await.unwrap();
    let mut read: i64 = 0;
    for _ in 0..50 {
        read = sqlx::query_scalar(
            "select cast(coalesce(sum(idx_tup_read), 0) as bigint) from pg_stat_user_indexes
             where relname = 'jobs'",
        )
        .fetch_one(&mut db)
        .await
        .unwrap();
        if read > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(read > 0, "what was read is not known");
    assert!(
        read < CLAIMS * 300,
        "{CLAIMS} claims with a look of the relay each read {read} entries"
    );
}
