//! Leases of loops: which process runs the relay, the reaper and the rest right now.

use slipway_domain::id::WorkerId;

use crate::db::{Store, Tx, sql};
use crate::dialect::{fill, lazily};
use crate::error::Result;

impl Store {
    /// Takes or renews the lease `name` for `holder`, for `for_ms` of database time. `false` when
    /// another process holds it.
    ///
    /// It is not waited for until it is on disk: every process asks every moment. When PostgreSQL
    /// dies, the lease may be forgotten and another process take it, so what loops do must bear to
    /// be done by two at once; it is only not meant to.
    pub async fn take_loop_lease(&self, name: &str, holder: WorkerId, for_ms: i64) -> Result<bool> {
        let mut one = self.single().await?;
        let taken = one.take_loop_lease(name, holder, for_ms).await?;
        one.commit().await?;
        Ok(taken)
    }
}

impl Tx {
    async fn take_loop_lease(&mut self, name: &str, holder: WorkerId, for_ms: i64) -> Result<bool> {
        let text = fill(
            self,
            "with {lazily}asked as (select {now_ms} + $3 as until_ms)
             insert into loop_leases (name, holder, lease_until_ms)
             select $1, $2, until_ms from asked where true{looked}
             on conflict (name) do update
                 set holder = excluded.holder, lease_until_ms = excluded.lease_until_ms
             where loop_leases.holder = excluded.holder or loop_leases.lease_until_ms <= {now_ms}",
        );
        let text = lazily(text, self.is_postgres(), "");
        Ok(sql!(execute self, text, name, holder, for_ms)? == 1)
    }

    /// Gives the lease back, so that another process need not wait for its end.
    pub async fn drop_loop_lease(&mut self, name: &str, holder: WorkerId) -> Result<()> {
        sql!(execute self,
            "delete from loop_leases where name = $1 and holder = $2", name, holder)?;
        Ok(())
    }
}
