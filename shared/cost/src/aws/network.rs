//! Gateways, load balancers, addresses, endpoints, zones.

use slipway_domain::cost::Amount;

use crate::desk::Desk;
use crate::value::Why;

pub(super) fn nat_gateway(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.hourly("gateway", "NAT gateway", "nat/hour", Amount::whole(1));
    desk.used("data", "Data processed", "nat/gb", "GB", "monthly_data_processed_gb", 1);
    Ok(())
}

pub(super) fn eip(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.hourly("address", "Public IPv4 address", "ipv4/hour", Amount::whole(1));
    Ok(())
}

pub(super) fn lb(desk: &mut Desk<'_>) -> Result<(), Why> {
    let kind = desk.view.text_or("load_balancer_type", "application")?;
    desk.hourly(
        "balancer",
        format!("Load balancer ({kind})"),
        &format!("lb/{kind}/hour"),
        Amount::whole(1),
    );
    desk.used(
        "capacity",
        format!("Capacity units ({kind})"),
        &format!("lb/{kind}/lcu"),
        "LCU-hour",
        "monthly_lcu_hours",
        1,
    );
    Ok(())
}

pub(super) fn elb(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.hourly("balancer", "Load balancer (classic)", "lb/classic/hour", Amount::whole(1));
    desk.used("data", "Data processed", "lb/classic/gb", "GB", "monthly_data_processed_gb", 1);
    Ok(())
}

pub(super) fn vpc_endpoint(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    match view.text_or("vpc_endpoint_type", "Gateway")?.as_str() {
        "Gateway" => {
            desk.assume("Gateway endpoints cost nothing.");
            Ok(())
        }
        "Interface" => {
            desk.part("endpoint", |desk| {
                let subnets = view.count("subnet_ids")?.unwrap_or(1).max(1);
                desk.hourly(
                    "endpoint",
                    "Interface endpoint, by zone",
                    "vpc-endpoint/hour",
                    Amount::whole(subnets),
                );
                Ok(())
            });
            desk.used(
                "data",
                "Data processed",
                "vpc-endpoint/gb",
                "GB",
                "monthly_data_processed_gb",
                1,
            );
            Ok(())
        }
        _ => Err(Why::not_modelled("only gateway and interface endpoints are priced.")),
    }
}

pub(super) fn route53_zone(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.global();
    desk.line("zone", "Hosted zone", "route53/zone", "zone-month", Amount::whole(1));
    desk.used("queries", "Queries", "route53/queries", "1M requests", "monthly_queries", 1_000_000);
    desk.assume("Hosted zones are among the first 25 of the account.");
    Ok(())
}
