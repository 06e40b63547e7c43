//! Prices of Microsoft Azure.

use slipway_domain::cost::{Amount, CostGapReason};

use crate::desk::{Desk, times};
use crate::types::Entry;
use crate::value::{View, Why};

/// The types that are priced.
pub(crate) const TYPES: &[Entry] = &[
    (
        "azurerm_kubernetes_cluster",
        "control plane of the tier, nodes of the default pool and their disks",
        cluster,
    ),
    ("azurerm_kubernetes_cluster_node_pool", "nodes and their disks", node_pool),
    ("azurerm_linux_virtual_machine", "machine, OS disk; disk operations by use", linux),
    (
        "azurerm_managed_disk",
        "premium, standard SSD and standard HDD (LRS) by tier; operations by use",
        managed_disk,
    ),
    ("azurerm_mssql_database", "DTU and vCore models, licence, storage", mssql),
    ("azurerm_postgresql_flexible_server", "machine, standby, storage; backups by use", postgresql),
    ("azurerm_public_ip", "basic and standard addresses", public_ip),
    (
        "azurerm_storage_account",
        "blob storage (standard, LRS) and requests, by use",
        storage_account,
    ),
    (
        "azurerm_windows_virtual_machine",
        "machine with licence, OS disk; disk operations by use",
        windows,
    ),
];

/// Sizes of managed disks in GB, and the number of their tier.
const TIERS: &[(u32, &str)] = &[
    (32, "4"),
    (64, "6"),
    (128, "10"),
    (256, "15"),
    (512, "20"),
    (1024, "30"),
    (2048, "40"),
    (4096, "50"),
    (8192, "60"),
    (16_384, "70"),
    (32_767, "80"),
];

/// Prices `number` disks.
fn disk(
    desk: &mut Desk<'_>,
    slot: &str,
    kind: &str,
    size: Amount,
    tier: Option<String>,
    number: Amount,
) -> Result<(), Why> {
    let (letter, redundancy, operations) = match kind.to_ascii_lowercase().as_str() {
        "premium_lrs" => ("P", "LRS", None),
        "premium_zrs" => ("P", "ZRS", None),
        "standardssd_lrs" => ("E", "LRS", Some("disk/standard-ssd/operations")),
        "standardssd_zrs" => ("E", "ZRS", Some("disk/standard-ssd/operations")),
        "standard_lrs" => ("S", "LRS", Some("disk/standard-hdd/operations")),
        _ => return Err(Why::not_modelled(format!("disks of type {kind} are not priced."))),
    };
    let tier = if let Some(tier) = tier {
        tier
    } else {
        let number = TIERS.iter().find(|(gb, _)| size <= Amount::whole(*gb));
        let (_, name) = number.ok_or_else(|| {
            Why::new(CostGapReason::InvalidValue, format!("no disk has {size} GB."))
        })?;
        format!("{letter}{name}")
    };
    desk.line(
        &format!("{slot}/storage"),
        format!("{slot}: disk ({tier}, {redundancy})"),
        &format!("disk/{tier}/{redundancy}"),
        "disk-month",
        number,
    );
    if let Some(key) = operations {
        desk.used(
            &format!("{slot}/operations"),
            format!("{slot}: disk operations"),
            key,
            "10k requests",
            "monthly_disk_operations",
            10_000,
        );
    }
    Ok(())
}

/// Sizes are written in any case; the book has one.
fn class(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("standard_") else { return text.to_owned() };
    // `Standard_D2as_v5`: capitals up to the number, then small letters.
    let at = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    format!("Standard_{}{}", rest[..at].to_ascii_uppercase(), &rest[at..])
}

fn machine(desk: &mut Desk<'_>, windows: bool) -> Result<(), Why> {
    let view = desk.view;
    desk.part("machine", |desk| {
        if view.text_or("priority", "Regular")? == "Spot" {
            return Err(Why::not_modelled("spot machines are not priced."));
        }
        let size = class(&view.needed("size")?);
        // With a licence of one's own the machine costs what it costs with Linux.
        let own = view.text_or("license_type", "None")? != "None";
        let (name, os) = match (windows, own) {
            (true, false) => ("Windows", "windows"),
            (true, true) => ("Windows, own licence", "linux"),
            (false, _) => ("Linux", "linux"),
        };
        desk.hourly(
            "machine",
            format!("Machine ({name}, pay as you go, {size})"),
            &format!("vm/{os}/{size}"),
            Amount::whole(1),
        );
        Ok(())
    });
    desk.part("os_disk", |desk| {
        let Some(os_disk) = view.block("os_disk")? else { return Ok(()) };
        if os_disk.count("diff_disk_settings")?.unwrap_or(0) > 0 {
            return Ok(());
        }
        let kind = os_disk.needed("storage_account_type")?;
        let size = if let Some(size) = os_disk.number("disk_size_gb")? {
            size
        } else {
            let size = if windows { 127 } else { 30 };
            desk.assume("An OS disk whose size is left to the image has 30 GB (Windows: 127).");
            Amount::whole(size)
        };
        disk(desk, "os_disk", &kind, size, None, Amount::whole(1))
    });
    Ok(())
}

fn linux(desk: &mut Desk<'_>) -> Result<(), Why> {
    machine(desk, false)
}

fn windows(desk: &mut Desk<'_>) -> Result<(), Why> {
    machine(desk, true)
}

fn managed_disk(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let kind = view.needed("storage_account_type")?;
    let tier = view.text("tier")?;
    let size = view.needed_number("disk_size_gb")?;
    disk(desk, "disk", &kind, size, tier, Amount::whole(1))
}

/// Nodes of a pool and their disks.
fn nodes(desk: &mut Desk<'_>, pool: View<'_>, size_name: &'static str) {
    desk.part("nodes", |desk| {
        if pool.text_or("priority", "Regular")? == "Spot" {
            return Err(Why::not_modelled("spot machines are not priced."));
        }
        let scales = pool.flag("enable_auto_scaling")? || pool.flag("auto_scaling_enabled")?;
        let number = match pool.number("node_count")? {
            Some(number) => number,
            None if scales => {
                desk.assume("Node pools that scale have their least number of nodes.");
                pool.number_or("min_count", 1)?
            }
            None => Amount::whole(1),
        };
        let size = class(&pool.text_or(size_name, "Standard_D2s_v3")?);
        let windows = pool.text_or("os_type", "Linux")? == "Windows";
        let os = if windows { "windows" } else { "linux" };
        desk.hourly("nodes", format!("Nodes ({size})"), &format!("vm/{os}/{size}"), number);
        desk.part("disk", |desk| {
            if pool.text_or("os_disk_type", "Managed")? != "Managed" {
                return Ok(());
            }
            let size = match pool.number("os_disk_size_gb")? {
                Some(size) if !size.is_zero() => size,
                _ => {
                    desk.assume("Disks of nodes are premium, 128 GB where no size is set.");
                    Amount::whole(128)
                }
            };
            disk(desk, "disk", "Premium_LRS", size, None, number)
        });
        Ok(())
    });
}

fn cluster(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    desk.part("cluster", |desk| {
        match view.text_or("sku_tier", "Free")?.as_str() {
            "Free" => desk.assume("The control plane of AKS's tier Free costs nothing."),
            "Standard" | "Paid" => {
                desk.hourly(
                    "cluster",
                    "Control plane (Standard)",
                    "aks/standard",
                    Amount::whole(1),
                );
            }
            "Premium" => {
                desk.hourly("cluster", "Control plane (Premium)", "aks/premium", Amount::whole(1));
            }
            other => return Err(Why::not_modelled(format!("the tier {other} is not priced."))),
        }
        Ok(())
    });
    desk.part("nodes", |desk| {
        if let Some(pool) = view.block("default_node_pool")? {
            nodes(desk, pool, "vm_size");
        }
        Ok(())
    });
    Ok(())
}

fn node_pool(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    if let Some((resource, _)) =
        desk.neighbour("azurerm_kubernetes_cluster", &["kubernetes_cluster_id"])
    {
        desk.region_of(resource);
    }
    nodes(desk, view, "vm_size");
    Ok(())
}

fn mssql(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    if let Some((resource, _)) = desk.neighbour("azurerm_mssql_server", &["server_id"]) {
        desk.region_of(resource);
    }
    let sku = view.text_or("sku_name", "GP_S_Gen5_2")?;
    if sku == "ElasticPool" {
        desk.assume("Databases in an elastic pool cost nothing beside the pool.");
        return Ok(());
    }
    let parts: Vec<&str> = sku.split('_').collect();
    let (family, cores) = match parts.as_slice() {
        [tier @ ("GP" | "BC" | "HS"), generation, cores] => (format!("{tier}_{generation}"), cores),
        ["GP", "S", generation, cores] => (format!("GP_S_{generation}"), cores),
        [single] => {
            desk.hourly(
                "compute",
                format!("Compute ({single})"),
                &format!("mssql/dtu/{single}"),
                Amount::whole(1),
            );
            desk.assume("The storage that a DTU tier includes is enough.");
            return Ok(());
        }
        _ => return Err(Why::not_modelled(format!("the SKU {sku} is not priced."))),
    };
    let serverless = family.starts_with("GP_S");
    let cores: u32 = cores.parse().ok().filter(|c| (1..=256).contains(c)).ok_or_else(|| {
        Why::new(CostGapReason::InvalidValue, format!("the SKU {sku} is not understood."))
    })?;
    let cores = Amount::whole(cores);
    let tier = if family.starts_with("BC") {
        "BC"
    } else if family.starts_with("HS") {
        "HS"
    } else {
        "GP"
    };
    let key = format!("mssql/vcore/{family}");
    if serverless {
        desk.used(
            "compute",
            format!("Compute (serverless, {sku})"),
            &key,
            "hour",
            "monthly_vcore_hours",
            1,
        );
    } else {
        desk.hourly("compute", format!("Compute ({sku})"), &key, cores);
        desk.part("license", |desk| {
            if view.text_or("license_type", "LicenseIncluded")? == "LicenseIncluded" {
                let key = format!("mssql/license/{tier}");
                desk.hourly("license", "SQL licence", &key, cores);
            }
            Ok(())
        });
    }
    desk.part("zones", |_| {
        if view.flag("zone_redundant")? {
            return Err(Why::not_modelled("the surcharge for zone redundancy is not priced."));
        }
        Ok(())
    });
    desk.part("storage", |desk| {
        if tier == "HS" {
            desk.used("storage", "Storage", "mssql/storage/HS", "GB-month", "storage_gb", 1);
            return Ok(());
        }
        let size = if let Some(size) = view.number("max_size_gb")? {
            size
        } else {
            desk.assume("A database without `max_size_gb` has 32 GB.");
            Amount::whole(32)
        };
        desk.line("storage", "Storage", &format!("mssql/storage/{tier}"), "GB-month", size);
        Ok(())
    });
    Ok(())
}

fn postgresql(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let standby = view.count("high_availability")?.unwrap_or(0) > 0;
    let number = Amount::whole(if standby { 2 } else { 1 });
    desk.part("compute", |desk| {
        let sku = view.needed("sku_name")?;
        let name = format!("Compute ({sku})");
        match sku.split_once('_') {
            Some(("B", _)) => {
                desk.hourly("compute", name, &format!("postgresql/{sku}"), number);
                Ok(())
            }
            Some((tier @ ("GP" | "MO"), size)) => {
                let digits: String = size
                    .trim_start_matches(|c: char| !c.is_ascii_digit())
                    .chars()
                    .take_while(char::is_ascii_digit)
                    .collect();
                let cores = digits.parse::<u32>().ok().filter(|c| (1..=256).contains(c));
                let cores = cores.ok_or_else(|| {
                    Why::new(
                        CostGapReason::InvalidValue,
                        format!("the SKU {sku} is not understood."),
                    )
                })?;
                let key = format!("postgresql/{tier}/vcore");
                desk.hourly("compute", name, &key, times(Amount::whole(cores), number)?);
                Ok(())
            }
            _ => Err(Why::not_modelled(format!("the SKU {sku} is not priced."))),
        }
    });
    desk.part("storage", |desk| {
        let size =
            view.number_or("storage_mb", 32_768)?.by(Amount::whole(1024)).unwrap_or_default();
        desk.line("storage", "Storage", "postgresql/storage", "GB-month", times(size, number)?);
        Ok(())
    });
    desk.used(
        "backup",
        "Backups above the free part",
        "postgresql/backup",
        "GB-month",
        "additional_backup_storage_gb",
        1,
    );
    Ok(())
}

fn public_ip(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let method = view.needed("allocation_method")?.to_lowercase();
    let sku = if let Some(sku) = view.text("sku")? {
        sku.to_lowercase()
    } else {
        desk.assume("A public address without a SKU is a standard one.");
        "standard".to_owned()
    };
    desk.hourly(
        "address",
        format!("Public address ({sku}, {method})"),
        &format!("ip/{sku}/{method}"),
        Amount::whole(1),
    );
    Ok(())
}

fn storage_account(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let tier = view.text_or("account_tier", "Standard")?;
    let redundancy = view.text_or("account_replication_type", "LRS")?;
    if tier != "Standard" || redundancy != "LRS" {
        return Err(Why::not_modelled("only standard accounts with LRS are priced."));
    }
    let access = view.text_or("access_tier", "Hot")?.to_lowercase();
    desk.used(
        "storage",
        format!("Storage ({access}, LRS)"),
        &format!("storage/{access}/LRS"),
        "GB-month",
        "storage_gb",
        1,
    );
    desk.used(
        "write",
        format!("Write requests ({access})"),
        &format!("storage/{access}/write"),
        "10k requests",
        "monthly_write_requests",
        10_000,
    );
    desk.used(
        "read",
        format!("Read requests ({access})"),
        &format!("storage/{access}/read"),
        "10k requests",
        "monthly_read_requests",
        10_000,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_the_book_has_them() {
        for (given, book) in [
            ("standard_b1s", "Standard_B1s"),
            ("Standard_D2AS_V5", "Standard_D2as_v5"),
            ("STANDARD_DS1_V2", "Standard_DS1_v2"),
            ("Basic_A2", "Basic_A2"),
        ] {
            assert_eq!(class(given), book);
        }
    }
}
