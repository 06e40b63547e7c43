//! Prices of NAVER Cloud Platform, in KRW.

use slipway_domain::cost::Amount;

use crate::desk::{Desk, month, times};
use crate::types::Entry;
use crate::value::Why;

/// The types that are priced.
pub(crate) const TYPES: &[Entry] = &[
    ("ncloud_block_storage", "HDD and SSD", block_storage),
    ("ncloud_lb", "network, network proxy, application load balancer by size", lb),
    ("ncloud_nat_gateway", "gateway; data by use", nat_gateway),
    ("ncloud_nks_cluster", "control plane", nks_cluster),
    ("ncloud_nks_node_pool", "nodes", nks_node_pool),
    ("ncloud_public_ip", "public address", public_ip),
    ("ncloud_server", "server of the second generation (high CPU, standard, high memory)", server),
];

/// The book's key for `SVR.VSVR.STAND.C002.M008.NET.SSD.B050.G002` or `s2-g2-s50`.
fn server_key(code: &str) -> Result<String, Why> {
    let odd = || Why::not_modelled(format!("the server type {code} is not understood."));
    let parts: Vec<&str> = code.split('.').collect();
    if let ["SVR", _, kind, cores, memory, ..] = parts.as_slice() {
        let generation = match parts.last() {
            Some(&"G003") => "server-g3",
            _ => "server",
        };
        return Ok(format!("{generation}/{kind}.{cores}.{memory}"));
    }
    let (size, rest) = code.split_once('-').ok_or_else(odd)?;
    let generation = if rest.starts_with("g2") { "server" } else { "server-g3" };
    let (kind, each, cores) = match size.as_bytes().first() {
        Some(b'c') => ("HICPU", 2, &size[1..]),
        Some(b's') => ("STAND", 4, &size[1..]),
        Some(b'm') => ("HIMEM", 8, &size[1..]),
        _ => return Err(odd()),
    };
    let cores: u32 = cores.parse().ok().filter(|c| (1..=256).contains(c)).ok_or_else(odd)?;
    Ok(format!("{generation}/{kind}.C{cores:03}.M{:03}", cores * each))
}

fn code(desk: &Desk<'_>) -> Result<String, Why> {
    match desk.view.text("server_spec_code")? {
        Some(code) => Ok(code),
        None => match desk.view.text("server_product_code")? {
            Some(code) => Ok(code),
            None => desk.view.needed("product_code"),
        },
    }
}

fn server(desk: &mut Desk<'_>) -> Result<(), Why> {
    let code = code(desk)?;
    desk.hourly("server", format!("Server ({code})"), &server_key(&code)?, Amount::whole(1));
    desk.assume("The price of a server includes its base disk of 50 GB.");
    Ok(())
}

fn block_storage(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let kind = match view.text("volume_type")? {
        Some(kind) => kind,
        None => view.text_or("disk_detail_type", "SSD")?,
    };
    let all = times(view.needed_number("size")?, month())?;
    desk.line("storage", format!("Storage ({kind})"), &format!("block/{kind}"), "GB-hour", all);
    Ok(())
}

fn nks_cluster(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.hourly("cluster", "Control plane", "nks/cluster", Amount::whole(1));
    Ok(())
}

fn nks_node_pool(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let scaling = view.block("autoscale")?;
    let number = match (view.number("node_count")?, scaling) {
        (Some(number), _) => number,
        (None, Some(scaling)) if scaling.flag("enabled")? => {
            desk.assume("Node pools that scale have their least number of nodes.");
            scaling.needed_number("min")?
        }
        _ => view.needed_number("node_count")?,
    };
    let code = code(desk)?;
    desk.hourly("nodes", format!("Nodes ({code})"), &server_key(&code)?, number);
    desk.assume("The price of a server includes its base disk of 50 GB.");
    Ok(())
}

fn lb(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let kind = view.needed("type")?;
    let size = view.text_or("throughput_type", "SMALL")?;
    if size == "DYNAMIC" {
        return Err(Why::not_modelled("load balancers of dynamic throughput are not priced."));
    }
    desk.hourly(
        "balancer",
        format!("Load balancer ({kind}, {size})"),
        &format!("lb/{kind}/{size}"),
        Amount::whole(1),
    );
    Ok(())
}

fn nat_gateway(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.hourly("gateway", "NAT gateway", "nat/hour", Amount::whole(1));
    desk.used("data", "Data processed", "nat/gb", "GB", "monthly_data_processed_gb", 1);
    Ok(())
}

fn public_ip(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.hourly("address", "Public address", "public-ip/hour", Amount::whole(1));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_forms_lead_to_one_key() {
        for (code, key) in [
            ("SVR.VSVR.STAND.C002.M008.NET.SSD.B050.G002", "server/STAND.C002.M008"),
            ("s2-g2-s50", "server/STAND.C002.M008"),
            ("c16-g2-h50", "server/HICPU.C016.M032"),
            ("s2-g3a", "server-g3/STAND.C002.M008"),
            ("SVR.VSVR.STAND.C002.M008.G003", "server-g3/STAND.C002.M008"),
        ] {
            assert_eq!(server_key(code).unwrap(), key);
        }
        for odd in ["", "x", "x2-g2", "s-g2", "s0-g2", "é2-g2"] {
            assert!(server_key(odd).is_err(), "{odd}");
        }
    }
}
