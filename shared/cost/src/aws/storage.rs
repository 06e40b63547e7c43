//! Volumes, snapshots, buckets, file systems.

use slipway_domain::cost::Amount;

use crate::desk::Desk;
use crate::value::{View, Why};

/// Prices one EBS volume, `number` times.
pub(super) fn volume(
    desk: &mut Desk<'_>,
    slot: &str,
    number: Amount,
    kind: &str,
    size: Amount,
    view: View<'_>,
) -> Result<(), Why> {
    let kind = kind.to_lowercase();
    let all = crate::desk::times(size, number)?;
    desk.line(
        &format!("{slot}/storage"),
        format!("{slot}: storage ({kind})"),
        &format!("ebs/{kind}"),
        "GB-month",
        all,
    );
    match kind.as_str() {
        "gp3" => {
            desk.part(&format!("{slot}/iops"), |desk| {
                let more = view.number_or("iops", 3000)?.minus(Amount::whole(3000));
                if more > Amount::ZERO {
                    desk.line(
                        &format!("{slot}/iops"),
                        format!("{slot}: IOPS above 3000 (gp3)"),
                        "ebs/gp3/iops",
                        "IOPS-month",
                        crate::desk::times(more, number)?,
                    );
                }
                Ok(())
            });
            desk.part(&format!("{slot}/throughput"), |desk| {
                let more = view.number_or("throughput", 125)?.minus(Amount::whole(125));
                if more > Amount::ZERO {
                    desk.line(
                        &format!("{slot}/throughput"),
                        format!("{slot}: throughput above 125 MB/s (gp3)"),
                        "ebs/gp3/throughput",
                        "MBps-month",
                        crate::desk::times(more, number)?,
                    );
                }
                Ok(())
            });
        }
        "io1" => desk.part(&format!("{slot}/iops"), |desk| {
            let iops = crate::desk::times(view.needed_number("iops")?, number)?;
            desk.line(
                &format!("{slot}/iops"),
                format!("{slot}: IOPS (io1)"),
                "ebs/io1/iops",
                "IOPS-month",
                iops,
            );
            Ok(())
        }),
        "io2" => desk.part(&format!("{slot}/iops"), |desk| {
            let iops = view.needed_number("iops")?;
            // The first 32000, those to 64000, and the rest have a price each.
            let (first, second) = (Amount::whole(32_000), Amount::whole(64_000));
            for (key, from, to) in [
                ("ebs/io2/iops", Amount::ZERO, Some(first)),
                ("ebs/io2/iops-from-32000", first, Some(second)),
                ("ebs/io2/iops-from-64000", second, None),
            ] {
                let end = to.map_or(iops, |to| to.min(iops));
                if end > from {
                    let name = if from.is_zero() {
                        format!("{slot}: IOPS (io2)")
                    } else {
                        format!("{slot}: IOPS above {from} (io2)")
                    };
                    let part = crate::desk::times(end.minus(from), number)?;
                    desk.line(&format!("{slot}/iops"), name, key, "IOPS-month", part);
                }
            }
            Ok(())
        }),
        "standard" => desk.used(
            &format!("{slot}/requests"),
            format!("{slot}: I/O requests (standard)"),
            "ebs/standard/requests",
            "1M requests",
            "monthly_standard_io_requests",
            1_000_000,
        ),
        _ => {}
    }
    Ok(())
}

pub(super) fn ebs_volume(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let kind = view.text_or("type", "gp2")?;
    let size = view.needed_number("size")?;
    volume(desk, "volume", Amount::whole(1), &kind, size, view)
}

pub(super) fn ebs_snapshot(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.used("storage", "Snapshot storage", "ebs/snapshot", "GB-month", "storage_gb", 1);
    Ok(())
}

pub(super) fn s3_bucket(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.used("storage", "Storage (Standard)", "s3/standard", "GB-month", "storage_gb", 1);
    desk.used(
        "tier1",
        "PUT, COPY, POST, LIST requests (Standard)",
        "s3/standard/tier1",
        "1k requests",
        "monthly_tier_1_requests",
        1000,
    );
    desk.used(
        "tier2",
        "GET and other requests (Standard)",
        "s3/standard/tier2",
        "1k requests",
        "monthly_tier_2_requests",
        1000,
    );
    desk.assume("Storage is taken at the price of its first tier, in the class Standard.");
    Ok(())
}

pub(super) fn efs(desk: &mut Desk<'_>) -> Result<(), Why> {
    let one_zone = desk.view.has("availability_zone_name");
    let (name, key) = if one_zone {
        ("Storage (One Zone)", "efs/one-zone")
    } else {
        ("Storage (Standard)", "efs/standard")
    };
    desk.used("storage", name, key, "GB-month", "storage_gb", 1);
    desk.part("throughput", |desk| {
        if desk.view.text_or("throughput_mode", "bursting")? == "provisioned" {
            let mbps = desk.view.needed_number("provisioned_throughput_in_mibps")?;
            desk.line("throughput", "Provisioned throughput", "efs/throughput", "MBps-month", mbps);
        }
        Ok(())
    });
    Ok(())
}
