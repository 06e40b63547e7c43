//! Leases of loops: which process runs the relay, the reaper and the rest right now.

use slipway_domain::id::WorkerId;

use crate::db::{Tx, sql};
use crate::dialect::fill;
use crate::error::Result;

impl Tx {
    /// Takes or renews the lease `name` for `holder`, for `for_ms` of database time. `false` when
    /// another process holds it.
    pub async fn take_loop_lease(
        &mut self,
        name: &str,
        holder: WorkerId,
        for_ms: i64,
    ) -> Result<bool> {
        let text = fill(
            self,
            "insert into loop_leases (name, holder, lease_until_ms) values ($1, $2, {now_ms} + $3)
             on conflict (name) do update
                 set holder = excluded.holder, lease_until_ms = excluded.lease_until_ms
             where loop_leases.holder = excluded.holder or loop_leases.lease_until_ms <= {now_ms}",
        );
        Ok(sql!(execute self, text, name, holder, for_ms)? == 1)
    }

    /// Gives the lease back, so that another process need not wait for its end.
    pub async fn drop_loop_lease(&mut self, name: &str, holder: WorkerId) -> Result<()> {
        sql!(execute self,
            "delete from loop_leases where name = $1 and holder = $2", name, holder)?;
        Ok(())
    }
}
