//! Prices of Google Cloud.

use slipway_domain::cost::Amount;

use crate::desk::{Desk, month, times};
use crate::types::Entry;
use crate::value::{View, Why};

/// The types that are priced.
pub(crate) const TYPES: &[Entry] = &[
    ("google_compute_address", "external address, taken to be in use", address),
    ("google_compute_disk", "standard, balanced, SSD and extreme disks", disk),
    ("google_compute_global_address", "external address, taken to be in use", address),
    (
        "google_compute_instance",
        "cores and memory (E2, N1, N2, N2D, T2D, C2, shared cores), boot disk, local SSDs",
        instance,
    ),
    ("google_container_cluster", "control plane, nodes of the default pool", cluster),
    ("google_container_node_pool", "nodes × zones, and their disks", node_pool),
    (
        "google_sql_database_instance",
        "cores and memory or shared core, zonal and regional, storage",
        sql,
    ),
    ("google_storage_bucket", "storage of the bucket's class, by use", bucket),
];

/// Cores and memory of a machine type; memory in GB per core.
struct Machine {
    family: &'static str,
    cores: Amount,
    memory: Amount,
}

fn amount(thousandths: u32) -> Amount {
    Amount::whole(thousandths).by(Amount::whole(1000)).unwrap_or_default()
}

/// Reads `n2-standard-4`. Shared cores of E2 are parts of a core.
fn machine(name: &str) -> Result<Machine, Why> {
    let shared = match name {
        "e2-micro" => Some((250, 1)),
        "e2-small" => Some((500, 2)),
        "e2-medium" => Some((1000, 4)),
        _ => None,
    };
    if let Some((core, memory)) = shared {
        return Ok(Machine { family: "e2", cores: amount(core), memory: Amount::whole(memory) });
    }
    let mut parts = name.split('-');
    let (family, kind, cores) = (parts.next(), parts.next(), parts.next());
    // Thousandths of a GB for one core.
    let each = match (family, kind) {
        (Some("e2" | "n2" | "n2d" | "t2d" | "c2"), Some("standard")) => 4000,
        (Some("e2" | "n2" | "n2d"), Some("highmem")) => 8000,
        (Some("e2" | "n2" | "n2d"), Some("highcpu")) => 1000,
        (Some("n1"), Some("standard")) => 3750,
        (Some("n1"), Some("highmem")) => 6500,
        (Some("n1"), Some("highcpu")) => 900,
        (Some("custom"), _) | (_, Some("custom")) => {
            return Err(Why::not_modelled("custom machine types have prices of their own."));
        }
        _ => {
            return Err(Why::new(
                slipway_domain::cost::CostGapReason::NoPrice,
                format!("the book has no prices for machines of type {name}."),
            ));
        }
    };
    let family = match family {
        Some("e2") => "e2",
        Some("n1") => "n1",
        Some("n2d") => "n2d",
        Some("t2d") => "t2d",
        Some("c2") => "c2",
        _ => "n2",
    };
    let cores: u32 = cores
        .and_then(|c| c.parse().ok())
        .filter(|c| (1..=416).contains(c))
        .ok_or_else(|| Why::not_modelled(format!("the machine type {name} is not understood.")))?;
    let cores = Amount::whole(cores);
    Ok(Machine { family, cores, memory: times(cores, amount(each))? })
}

/// Lines of `number` machines of a type.
fn machines(desk: &mut Desk<'_>, slot: &str, name: &str, number: Amount) -> Result<(), Why> {
    // A type may be given as a URL.
    let name = name.rsplit('/').next().unwrap_or(name);
    if matches!(name, "f1-micro" | "g1-small") {
        desk.hourly(slot, format!("Instance ({name})"), &format!("compute/{name}"), number);
        return Ok(());
    }
    let machine = machine(name)?;
    let family = machine.family;
    desk.hourly(
        &format!("{slot}/core"),
        format!("Cores ({name})"),
        &format!("compute/{family}/core"),
        times(machine.cores, number)?,
    );
    desk.line(
        &format!("{slot}/memory"),
        format!("Memory ({name})"),
        &format!("compute/{family}/ram"),
        "GB-hour",
        times(times(machine.memory, number)?, month())?,
    );
    desk.assume("Machines run on demand all month; sustained and committed use discounts are not taken off.");
    Ok(())
}

fn disk_line(desk: &mut Desk<'_>, slot: &str, kind: &str, size: Amount) {
    let kind = kind.rsplit('/').next().unwrap_or(kind).to_owned();
    desk.line(slot, format!("{slot}: storage ({kind})"), &format!("disk/{kind}"), "GB-month", size);
}

/// Whether machines of it may be taken away at any time.
fn is_spot(view: View<'_>) -> Result<bool, Why> {
    let Some(scheduling) = view.block("scheduling")? else { return Ok(false) };
    Ok(scheduling.flag("preemptible")?
        || scheduling.text_or("provisioning_model", "STANDARD")? == "SPOT")
}

fn instance(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    desk.part("instance", |desk| {
        if is_spot(view)? {
            return Err(Why::not_modelled("spot machines are not priced."));
        }
        machines(desk, "instance", &view.needed("machine_type")?, Amount::whole(1))
    });
    desk.part("accelerator", |_| {
        if view.count("guest_accelerator")?.unwrap_or(0) > 0 {
            return Err(Why::not_modelled("accelerators are not priced."));
        }
        Ok(())
    });
    desk.part("boot_disk", |desk| {
        let Some(boot) = view.block("boot_disk")? else { return Ok(()) };
        // Without these, the disk is a resource of its own.
        let Some(made) = boot.block("initialize_params")? else { return Ok(()) };
        let kind = made.text_or("type", "pd-standard")?;
        let size = if let Some(size) = made.number("size")? {
            size
        } else {
            desk.assume("A boot disk whose size is left to the image has 10 GB.");
            Amount::whole(10)
        };
        disk_line(desk, "boot_disk", &kind, size);
        Ok(())
    });
    desk.part("scratch_disk", |desk| {
        let number = view.count("scratch_disk")?.unwrap_or(0);
        disk_line(
            desk,
            "scratch_disk",
            "local-ssd",
            times(Amount::whole(375), Amount::whole(number))?,
        );
        Ok(())
    });
    Ok(())
}

fn disk(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let kind = view.text_or("type", "pd-standard")?;
    desk.part("disk", |desk| {
        disk_line(desk, "disk", &kind, view.needed_number("size")?);
        Ok(())
    });
    if kind == "pd-extreme" {
        desk.part("iops", |desk| {
            let iops = view.needed_number("provisioned_iops")?;
            desk.line("iops", "Provisioned IOPS", "disk/pd-extreme/iops", "IOPS-month", iops);
            Ok(())
        });
    }
    Ok(())
}

fn address(desk: &mut Desk<'_>) -> Result<(), Why> {
    if desk.view.text_or("address_type", "EXTERNAL")? != "EXTERNAL" {
        desk.assume("Internal addresses cost nothing.");
        return Ok(());
    }
    if desk.region().is_err() {
        return Err(Why::not_modelled("global addresses without a region are not priced."));
    }
    desk.assume("External addresses are in use; one that is not costs twice as much.");
    desk.hourly("address", "External address, in use", "address/used", Amount::whole(1));
    Ok(())
}

/// How many zones a regional pool is in: those that are named, or three.
fn zones(desk: &mut Desk<'_>, places: &[View<'_>]) -> Result<Amount, Why> {
    for place in places {
        if let Some(number) = place.count("node_locations")?.filter(|n| *n > 0) {
            return Ok(Amount::whole(number));
        }
    }
    for place in places {
        if let Some(location) = place.text("location")? {
            let zonal = location.rsplit_once('-').is_some_and(|(_, last)| last.len() == 1);
            if zonal {
                return Ok(Amount::whole(1));
            }
            desk.assume(
                "Regional node pools are in three zones unless `node_locations` says more.",
            );
            return Ok(Amount::whole(3));
        }
    }
    desk.assume("Node pools whose cluster is not in the plan are in one zone.");
    Ok(Amount::whole(1))
}

/// Machines and disks of a pool's nodes.
fn nodes(desk: &mut Desk<'_>, config: Option<View<'_>>, number: Amount) {
    desk.part("nodes", |desk| {
        let class = match config {
            Some(config) => {
                if config.flag("spot")? || config.flag("preemptible")? {
                    return Err(Why::not_modelled("spot machines are not priced."));
                }
                config.text_or("machine_type", "e2-medium")?
            }
            None => "e2-medium".to_owned(),
        };
        machines(desk, "nodes", &class, number)
    });
    desk.part("disk", |desk| {
        let (kind, size) = match config {
            Some(config) => (
                config.text_or("disk_type", "pd-balanced")?,
                config.number_or("disk_size_gb", 100)?,
            ),
            None => ("pd-balanced".to_owned(), Amount::whole(100)),
        };
        desk.assume("Nodes have a pd-balanced disk of 100 GB where nothing else is set.");
        disk_line(desk, "disk", &kind, times(size, number)?);
        Ok(())
    });
}

fn cluster(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    desk.hourly("cluster", "Control plane", "gke/cluster", Amount::whole(1));
    if view.flag("enable_autopilot")? {
        desk.gap("pods", Why::not_modelled("pods of Autopilot clusters are not priced."));
        return Ok(());
    }
    if view.flag("remove_default_node_pool")? || view.count("node_pool")?.unwrap_or(0) > 0 {
        if view.count("node_pool")?.unwrap_or(0) > 0 && !view.flag("remove_default_node_pool")? {
            desk.assume("Node pools that a cluster has inside are priced where they are resources of their own.");
        }
        return Ok(());
    }
    desk.part("nodes", |desk| {
        let zones = zones(desk, &[view])?;
        let number = times(view.number_or("initial_node_count", 0)?, zones)?;
        if !number.is_zero() {
            nodes(desk, view.block("node_config")?, number);
        }
        Ok(())
    });
    Ok(())
}

fn node_pool(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let cluster = desk.neighbour("google_container_cluster", &["cluster"]);
    let mut places = vec![view];
    if let Some((resource, cluster)) = cluster {
        desk.region_of(resource);
        places.push(cluster);
    }
    let zones = zones(desk, &places)?;
    let each = match (view.number("node_count")?, view.number("initial_node_count")?) {
        (Some(number), _) | (None, Some(number)) => number,
        (None, None) => match view.block("autoscaling")? {
            Some(scaling) => {
                desk.assume("Node pools that scale have their least number of nodes.");
                scaling.number_or("min_node_count", 0)?
            }
            None => return Err(Why::not_modelled("it does not say how many nodes it has.")),
        },
    };
    nodes(desk, view.block("node_config")?, times(each, zones)?);
    Ok(())
}

fn sql(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let Some(settings) = view.block("settings")? else {
        return Err(Why::not_modelled("it has no `settings`."));
    };
    if settings.text_or("edition", "ENTERPRISE")? != "ENTERPRISE" {
        return Err(Why::not_modelled("only the edition ENTERPRISE is priced."));
    }
    let regional = settings.text_or("availability_type", "ZONAL")? == "REGIONAL";
    let twice = Amount::whole(if regional { 2 } else { 1 });
    let place = if regional { "regional" } else { "zonal" };
    desk.part("instance", |desk| {
        let tier = settings.needed("tier")?;
        if matches!(tier.as_str(), "db-f1-micro" | "db-g1-small") {
            desk.hourly(
                "instance",
                format!("Instance ({tier}, {place})"),
                &format!("sql/{tier}"),
                twice,
            );
            return Ok(());
        }
        let (cores, memory) = sql_tier(&tier)?;
        let name = format!("Cores ({tier}, {place})");
        desk.hourly("instance/core", name, "sql/core", times(cores, twice)?);
        let all = times(times(memory, twice)?, month())?;
        desk.line(
            "instance/memory",
            format!("Memory ({tier}, {place})"),
            "sql/ram",
            "GB-hour",
            all,
        );
        Ok(())
    });
    desk.part("license", |_| {
        if view.text_or("database_version", "")?.starts_with("SQLSERVER") {
            return Err(Why::not_modelled("licences of SQL Server are not priced."));
        }
        Ok(())
    });
    desk.part("storage", |desk| {
        let kind = settings.text_or("disk_type", "PD_SSD")?;
        let kind = kind.trim_start_matches("PD_").to_lowercase();
        let size = times(settings.number_or("disk_size", 10)?, twice)?;
        desk.line(
            "storage",
            format!("Storage ({kind}, {place})"),
            &format!("sql/storage/{kind}"),
            "GB-month",
            size,
        );
        Ok(())
    });
    desk.used("backup", "Backups", "sql/backup", "GB-month", "backup_storage_gb", 1);
    Ok(())
}

/// Cores and GB of `db-custom-2-7680`, `db-n1-standard-2`, `db-n1-highmem-2`.
fn sql_tier(tier: &str) -> Result<(Amount, Amount), Why> {
    let odd = || Why::not_modelled(format!("the tier {tier} is not priced."));
    let number = |text: Option<&str>| -> Result<Amount, Why> {
        text.and_then(|t| t.parse::<u32>().ok())
            .filter(|n| (1..=1_000_000).contains(n))
            .map(Amount::whole)
            .ok_or_else(odd)
    };
    let parts: Vec<_> = tier.split('-').collect();
    match parts.as_slice() {
        ["db", "custom", cores, megabytes] => {
            let memory = number(Some(megabytes))?.by(Amount::whole(1024)).unwrap_or_default();
            Ok((number(Some(cores))?, memory))
        }
        ["db", "n1", "standard", cores] => {
            let cores = number(Some(cores))?;
            Ok((cores, times(cores, amount(3750))?))
        }
        ["db", "n1", "highmem", cores] => {
            let cores = number(Some(cores))?;
            Ok((cores, times(cores, amount(6500))?))
        }
        _ => Err(odd()),
    }
}

fn bucket(desk: &mut Desk<'_>) -> Result<(), Why> {
    let class = desk.view.text_or("storage_class", "STANDARD")?.to_lowercase();
    desk.used(
        "storage",
        format!("Storage ({class})"),
        &format!("storage/{class}"),
        "GB-month",
        "storage_gb",
        1,
    );
    Ok(())
}
