//! Keys, secrets, logs, alarms, registries, brokers.

use slipway_domain::cost::Amount;

use crate::desk::{Desk, times};
use crate::value::Why;

pub(super) fn kms_key(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.line("key", "Key", "kms/key", "key-month", Amount::whole(1));
    desk.used("requests", "Requests", "kms/requests", "10k requests", "monthly_requests", 10_000);
    Ok(())
}

pub(super) fn secret(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.line("secret", "Secret", "secretsmanager/secret", "secret-month", Amount::whole(1));
    desk.used(
        "requests",
        "Requests",
        "secretsmanager/requests",
        "10k requests",
        "monthly_requests",
        10_000,
    );
    Ok(())
}

pub(super) fn log_group(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.used(
        "ingest",
        "Data ingested",
        "cloudwatch/logs/ingest",
        "GB",
        "monthly_data_ingested_gb",
        1,
    );
    desk.used("storage", "Archive", "cloudwatch/logs/storage", "GB-month", "storage_gb", 1);
    Ok(())
}

pub(super) fn metric_alarm(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let queries = view.count("metric_query")?.unwrap_or(0).max(1);
    if queries > 1 {
        desk.assume("Every query of an alarm is one metric of it.");
    }
    let high = view.number("period")?.is_some_and(|p| !p.is_zero() && p < Amount::whole(60));
    let (name, key) = if high {
        ("Alarm (high resolution)", "cloudwatch/alarm/high")
    } else {
        ("Alarm (standard)", "cloudwatch/alarm/standard")
    };
    desk.line("alarm", name, key, "alarm-month", Amount::whole(queries));
    Ok(())
}

pub(super) fn ecr_repository(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.used("storage", "Storage", "ecr/storage", "GB-month", "storage_gb", 1);
    Ok(())
}

pub(super) fn mq_broker(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let mode = view.text_or("deployment_mode", "SINGLE_INSTANCE")?;
    let number = match mode.as_str() {
        "SINGLE_INSTANCE" => 1,
        "ACTIVE_STANDBY_MULTI_AZ" => 2,
        "CLUSTER_MULTI_AZ" => 3,
        _ => return Err(Why::not_modelled("this `deployment_mode` is not priced.")),
    };
    let class = view.needed("host_instance_type")?;
    desk.hourly(
        "broker",
        format!("Broker ({class})"),
        &format!("mq/{class}"),
        Amount::whole(number),
    );
    desk.part("storage", |desk| {
        let rabbit = view.needed("engine_type")?.eq_ignore_ascii_case("rabbitmq");
        let kind = view.text_or("storage_type", if rabbit { "ebs" } else { "efs" })?;
        let key = format!("mq/storage/{}", kind.to_lowercase());
        desk.used("storage", "Storage", &key, "GB-month", "storage_gb", 1);
        Ok(())
    });
    Ok(())
}

pub(super) fn msk_cluster(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let number = view.needed_number("number_of_broker_nodes")?;
    let Some(group) = view.block("broker_node_group_info")? else {
        return Err(Why::not_modelled("it has no `broker_node_group_info`."));
    };
    desk.part("broker", |desk| {
        let class = group.needed("instance_type")?;
        desk.hourly("broker", format!("Broker ({class})"), &format!("msk/{class}"), number);
        Ok(())
    });
    desk.part("storage", |desk| {
        let size = match group.block("storage_info")? {
            Some(storage) => match storage.block("ebs_storage_info")? {
                Some(ebs) => ebs.needed_number("volume_size")?,
                None => group.needed_number("ebs_volume_size")?,
            },
            None => group.needed_number("ebs_volume_size")?,
        };
        desk.line("storage", "Storage of brokers", "msk/storage", "GB-month", times(size, number)?);
        Ok(())
    });
    Ok(())
}
