//! Databases, caches, search, warehouses.

use slipway_domain::cost::Amount;

use crate::desk::{Desk, month, times};
use crate::value::{View, Why};

pub(super) fn db_instance(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let zones = if view.flag("multi_az")? { "multi" } else { "single" };
    // A replica takes after its source what it does not say itself.
    let source = desk.neighbour("aws_db_instance", &["replicate_source_db"]).map(|(_, view)| view);
    let inherited = |name: &str| -> Result<Option<String>, Why> {
        match (view.text(name)?, source) {
            (Some(text), _) => Ok(Some(text)),
            (None, Some(source)) => source.text(name),
            (None, None) => Ok(None),
        }
    };
    let engine = match inherited("engine")? {
        Some(engine) => engine,
        None => view.needed("engine")?,
    };
    desk.part("instance", |desk| {
        let class = view.needed("instance_class")?;
        desk.hourly(
            "instance",
            format!("Instance ({engine}, {zones}-AZ, {class})"),
            &format!("rds/{engine}/{zones}/{class}"),
            Amount::whole(1),
        );
        Ok(())
    });
    desk.part("storage", |desk| {
        let kind = match view.text("storage_type")? {
            Some(kind) => kind,
            None if view.number("iops")?.is_some_and(|n| !n.is_zero()) => "io1".to_owned(),
            None => "gp2".to_owned(),
        };
        let size = match (view.number("allocated_storage")?, source) {
            (Some(size), _) => size,
            (None, Some(source)) => source.needed_number("allocated_storage")?,
            (None, None) => view.needed_number("allocated_storage")?,
        };
        desk.line(
            "storage",
            format!("Storage ({kind}, {zones}-AZ)"),
            &format!("rds/storage/{kind}/{zones}"),
            "GB-month",
            size,
        );
        storage_performance(desk, view, &engine, &kind, zones, size)
    });
    desk.used(
        "backup",
        "Backups above the free part",
        "rds/backup",
        "GB-month",
        "additional_backup_storage_gb",
        1,
    );
    Ok(())
}

/// IOPS and throughput that are paid beside the storage.
fn storage_performance(
    desk: &mut Desk<'_>,
    view: View<'_>,
    engine: &str,
    kind: &str,
    zones: &str,
    size: Amount,
) -> Result<(), Why> {
    match kind {
        "io1" | "io2" => {
            let iops = view.needed_number("iops")?;
            let key = format!("rds/iops/{kind}/{zones}");
            desk.line("iops", format!("IOPS ({kind})"), &key, "IOPS-month", iops);
        }
        "gp3" => {
            // From 400 GB on (SQL Server: never) more of both is in the price.
            let large = size >= Amount::whole(400) && !engine.starts_with("sqlserver");
            let (iops, mbps) = if large { (12_000, 500) } else { (3000, 125) };
            desk.part("iops", |desk| {
                let more = view.number_or("iops", iops)?.minus(Amount::whole(iops));
                if more > Amount::ZERO {
                    let key = format!("rds/iops/gp3/{zones}");
                    desk.line("iops", format!("IOPS above {iops} (gp3)"), &key, "IOPS-month", more);
                }
                Ok(())
            });
            desk.part("throughput", |desk| {
                let more = view.number_or("storage_throughput", mbps)?.minus(Amount::whole(mbps));
                if more > Amount::ZERO {
                    let key = format!("rds/throughput/gp3/{zones}");
                    let name = format!("Throughput above {mbps} MB/s (gp3)");
                    desk.line("throughput", name, &key, "MBps-month", more);
                }
                Ok(())
            });
        }
        _ => {}
    }
    Ok(())
}

pub(super) fn rds_cluster(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    if view.text_or("engine_mode", "provisioned")? != "provisioned" {
        return Err(Why::not_modelled("only the engine mode `provisioned` is priced."));
    }
    if !view.text_or("engine", "aurora-mysql")?.starts_with("aurora") {
        return Err(Why::not_modelled("clusters that are not Aurora are not priced."));
    }
    let optimized = view.text_or("storage_type", "")? == "aurora-iopt1";
    let key = if optimized { "aurora/storage-iopt" } else { "aurora/storage" };
    desk.used("storage", "Storage (Aurora)", key, "GB-month", "storage_gb", 1);
    if !optimized {
        desk.used(
            "io",
            "I/O requests (Aurora)",
            "aurora/io",
            "1M requests",
            "monthly_io_requests",
            1_000_000,
        );
    }
    Ok(())
}

pub(super) fn rds_cluster_instance(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    if !view.text_or("engine", "aurora-mysql")?.starts_with("aurora") {
        return Err(Why::not_modelled("instances that are not Aurora are not priced."));
    }
    let cluster = desk.neighbour("aws_rds_cluster", &["cluster_identifier"]).map(|(_, view)| view);
    let optimized = if let Some(cluster) = cluster {
        cluster.text_or("storage_type", "")? == "aurora-iopt1"
    } else {
        desk.assume("Aurora clusters that are not in the plan have standard storage.");
        false
    };
    let class = view.needed("instance_class")?;
    if class == "db.serverless" {
        let key = if optimized { "aurora/acu-iopt" } else { "aurora/acu" };
        if let Some(units) = desk.usage("monthly_acu_hours") {
            desk.reckoned("instance", "Capacity units (Aurora serverless v2)", key, "hour", units);
            return Ok(());
        }
        let scaling = match cluster {
            Some(cluster) => cluster.block("serverlessv2_scaling_configuration")?,
            None => None,
        };
        let Some(scaling) = scaling else {
            return Err(Why::not_modelled(
                "its cluster's scaling is not in the plan; give `monthly_acu_hours`.",
            ));
        };
        let least = scaling.needed_number("min_capacity")?;
        desk.assume(
            "Aurora serverless v2 runs at its least capacity unless `monthly_acu_hours` is given.",
        );
        desk.line(
            "instance",
            "Capacity units (Aurora serverless v2)",
            key,
            "hour",
            times(least, month())?,
        );
        return Ok(());
    }
    if optimized {
        return Err(Why::not_modelled("instances of I/O-optimized clusters are not priced."));
    }
    desk.hourly(
        "instance",
        format!("Instance (Aurora, {class})"),
        &format!("aurora/instance/{class}"),
        Amount::whole(1),
    );
    Ok(())
}

pub(super) fn dynamodb_table(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    if view.count("replica")?.unwrap_or(0) > 0 {
        desk.gap("replica", Why::not_modelled("replicas of global tables are not priced."));
    }
    if view.text_or("billing_mode", "PROVISIONED")? == "PROVISIONED" {
        let indexes = view.blocks("global_secondary_index")?;
        for (slot, name, attribute, key) in [
            ("write", "Write capacity", "write_capacity", "dynamodb/wcu"),
            ("read", "Read capacity", "read_capacity", "dynamodb/rcu"),
        ] {
            desk.part(slot, |desk| {
                let mut units = view.needed_number(attribute)?;
                for index in &indexes {
                    units = units.plus(index.needed_number(attribute)?);
                }
                desk.hourly(slot, name, key, units);
                Ok(())
            });
        }
    } else {
        desk.used(
            "write",
            "Write requests",
            "dynamodb/write",
            "1M requests",
            "monthly_write_request_units",
            1_000_000,
        );
        desk.used(
            "read",
            "Read requests",
            "dynamodb/read",
            "1M requests",
            "monthly_read_request_units",
            1_000_000,
        );
    }
    desk.used("storage", "Storage", "dynamodb/storage", "GB-month", "storage_gb", 1);
    Ok(())
}

fn nodes(desk: &mut Desk<'_>, engine: &str, class: &str, number: Amount) -> Result<(), Why> {
    if engine == "valkey" {
        return Err(Why::not_modelled("Valkey has prices of its own, which the book lacks."));
    }
    desk.hourly(
        "nodes",
        format!("Nodes ({engine}, {class})"),
        &format!("elasticache/{class}"),
        number,
    );
    Ok(())
}

pub(super) fn elasticache_cluster(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let group = desk
        .neighbour("aws_elasticache_replication_group", &["replication_group_id"])
        .map(|(_, view)| view);
    let (engine, class) = match group {
        Some(group) => (
            group.text_or("engine", "redis")?,
            view.text("node_type")?.map_or_else(|| group.needed("node_type"), Ok)?,
        ),
        None => (view.needed("engine")?, view.needed("node_type")?),
    };
    let number = view.number_or("num_cache_nodes", 1)?;
    nodes(desk, &engine, &class, number)
}

pub(super) fn elasticache_group(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let engine = view.text_or("engine", "redis")?;
    let class = view.needed("node_type")?;
    let shards = |view: View<'_>| -> Result<Option<Amount>, Why> {
        let Some(groups) = view.number("num_node_groups")? else { return Ok(None) };
        let replicas = view.number_or("replicas_per_node_group", 0)?;
        Ok(Some(times(groups, replicas.plus(Amount::whole(1)))?))
    };
    let number = match shards(view)? {
        Some(number) => Some(number),
        None => match view.block("cluster_mode")? {
            Some(mode) => shards(mode)?,
            None => None,
        },
    };
    let number = match number {
        Some(number) => number,
        None => match view.number("num_cache_clusters")? {
            Some(number) => number,
            None => view.number_or("number_cache_clusters", 1)?,
        },
    };
    nodes(desk, &engine, &class, number)
}

pub(super) fn opensearch_domain(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let cluster = view.block("cluster_config")?;
    let count = match cluster {
        Some(cluster) => cluster.number_or("instance_count", 1)?,
        None => Amount::whole(1),
    };
    let class = match cluster {
        Some(cluster) => cluster.text_or("instance_type", "m4.large.search")?,
        None => "m4.large.search".to_owned(),
    };
    desk.hourly("data", format!("Data nodes ({class})"), &format!("opensearch/{class}"), count);
    if let Some(cluster) = cluster {
        desk.part("master", |desk| {
            if cluster.flag("dedicated_master_enabled")? {
                let class = cluster.needed("dedicated_master_type")?;
                let count = cluster.number_or("dedicated_master_count", 3)?;
                let name = format!("Master nodes ({class})");
                desk.hourly("master", name, &format!("opensearch/{class}"), count);
            }
            Ok(())
        });
        desk.part("warm", |_| {
            if cluster.flag("warm_enabled")? {
                return Err(Why::not_modelled("warm nodes are not priced."));
            }
            Ok(())
        });
    }
    desk.part("storage", |desk| {
        if let Some(ebs) = view.block("ebs_options")?
            && ebs.flag("ebs_enabled")?
        {
            let kind = ebs.text_or("volume_type", "gp2")?;
            let size = times(ebs.needed_number("volume_size")?, count)?;
            let key = format!("opensearch/storage/{kind}");
            desk.line("storage", format!("Storage ({kind})"), &key, "GB-month", size);
        }
        Ok(())
    });
    Ok(())
}

pub(super) fn redshift_cluster(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let class = view.needed("node_type")?;
    let number = view.number_or("number_of_nodes", 1)?;
    desk.hourly("nodes", format!("Nodes ({class})"), &format!("redshift/{class}"), number);
    if class.starts_with("ra3") {
        desk.used(
            "storage",
            "Managed storage",
            "redshift/managed-storage",
            "GB-month",
            "managed_storage_gb",
            1,
        );
    }
    Ok(())
}
