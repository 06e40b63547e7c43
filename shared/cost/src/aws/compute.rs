//! Instances, groups of them, Kubernetes, Fargate, functions.

use slipway_domain::cost::Amount;

use super::storage::volume;
use crate::desk::{Desk, month, times};
use crate::value::{View, Why};

/// Hours of a month that one instance runs.
fn hours(desk: &mut Desk<'_>) -> Amount {
    desk.usage("monthly_hours").unwrap_or_else(month)
}

/// The line of `number` instances of a type.
fn instances(desk: &mut Desk<'_>, number: Amount, class: &str) -> Result<(), Why> {
    let each = hours(desk);
    let told = each != month();
    let name = format!("Instance (Linux, on demand, {class})");
    let key = format!("ec2/linux/{class}");
    let all = times(number, each)?;
    if told {
        desk.reckoned("instance", name, &key, "hour", all);
    } else {
        desk.line("instance", name, &key, "hour", all);
    }
    desk.assume("Instances run Linux, on demand, all month (730 hours).");
    Ok(())
}

/// Root and further volumes as an instance and a launch configuration have them.
fn volumes(desk: &mut Desk<'_>, view: View<'_>, number: Amount) {
    desk.part("root_block_device", |desk| match view.block("root_block_device")? {
        Some(block) => block_volume(desk, "root_block_device", block, number),
        None => root_volume(desk, number, view),
    });
    desk.part("ebs_block_device", |desk| {
        for (i, block) in view.blocks("ebs_block_device")?.into_iter().enumerate() {
            let slot = format!("ebs_block_device[{i}]");
            desk.part(&slot, |desk| block_volume(desk, &slot, block, number));
        }
        Ok(())
    });
}

fn root_volume(desk: &mut Desk<'_>, number: Amount, view: View<'_>) -> Result<(), Why> {
    desk.assume("A root volume that is not described has 8 GB of gp2; the image decides.");
    volume(desk, "root_block_device", number, "gp2", Amount::whole(8), view)
}

fn block_volume(
    desk: &mut Desk<'_>,
    slot: &str,
    block: View<'_>,
    number: Amount,
) -> Result<(), Why> {
    let kind = block.text_or("volume_type", "gp2")?;
    let size = if let Some(size) = block.number("volume_size")? {
        size
    } else {
        desk.assume("A volume whose size is left to the image has 8 GB.");
        Amount::whole(8)
    };
    volume(desk, slot, number, &kind, size, block)
}

pub(super) fn instance(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    desk.part("instance", |desk| {
        if view.text_or("tenancy", "default")? != "default" {
            return Err(Why::not_modelled("dedicated instances and hosts are not priced."));
        }
        if let Some(options) = view.block("instance_market_options")?
            && options.text("market_type")?.is_some_and(|m| m == "spot")
        {
            return Err(Why::not_modelled("spot prices change by the hour and are not priced."));
        }
        let class = view.text("instance_type")?;
        let class = match class {
            Some(class) => class,
            None => match desk.neighbour("aws_launch_template", &[]) {
                Some((_, template)) => template.needed("instance_type")?,
                None => view.needed("instance_type")?,
            },
        };
        instances(desk, Amount::whole(1), &class)
    });
    desk.part("address", |desk| {
        if view.flag("associate_public_ip_address")? {
            desk.hourly("address", "Public IPv4 address", "ipv4/hour", Amount::whole(1));
        }
        Ok(())
    });
    volumes(desk, view, Amount::whole(1));
    Ok(())
}

/// Volumes of a launch template.
fn template_volumes(desk: &mut Desk<'_>, template: View<'_>, number: Amount) -> Result<(), Why> {
    let mappings = template.blocks("block_device_mappings")?;
    if mappings.is_empty() {
        return root_volume(desk, number, template);
    }
    for (i, mapping) in mappings.into_iter().enumerate() {
        let slot = format!("block_device[{i}]");
        desk.part(&slot, |desk| match mapping.block("ebs")? {
            Some(ebs) => block_volume(desk, &slot, ebs, number),
            None => Ok(()),
        });
    }
    Ok(())
}

pub(super) fn autoscaling_group(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let number = match view.number("desired_capacity")? {
        Some(number) => number,
        None => view.needed_number("min_size")?,
    };
    desk.assume("Groups have their desired capacity, or their minimum, all month.");
    if view.count("mixed_instances_policy")?.unwrap_or(0) > 0 {
        return Err(Why::not_modelled("groups of mixed instances are not priced."));
    }
    if let Some((_, template)) = desk.neighbour("aws_launch_template", &["id", "name"]) {
        desk.part("instance", |desk| {
            if let Some(options) = template.block("instance_market_options")?
                && options.text("market_type")?.is_some_and(|m| m == "spot")
            {
                return Err(Why::not_modelled(
                    "spot prices change by the hour and are not priced.",
                ));
            }
            let class = template.needed("instance_type")?;
            instances(desk, number, &class)
        });
        desk.part("block_device", |desk| template_volumes(desk, template, number));
        return Ok(());
    }
    if let Some((_, launch)) = desk.neighbour("aws_launch_configuration", &["launch_configuration"])
    {
        desk.part("instance", |desk| {
            if launch.has("spot_price") {
                return Err(Why::not_modelled(
                    "spot prices change by the hour and are not priced.",
                ));
            }
            let class = launch.needed("instance_type")?;
            instances(desk, number, &class)
        });
        volumes(desk, launch, number);
        return Ok(());
    }
    Err(Why::not_modelled("its launch template is not in the plan."))
}

pub(super) fn eks_cluster(desk: &mut Desk<'_>) -> Result<(), Why> {
    desk.assume("EKS clusters run a version in standard support.");
    desk.hourly("cluster", "Control plane", "eks/cluster", Amount::whole(1));
    Ok(())
}

pub(super) fn eks_node_group(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    if view.text_or("capacity_type", "ON_DEMAND")? != "ON_DEMAND" {
        return Err(Why::not_modelled("spot prices change by the hour and are not priced."));
    }
    let number = match view.block("scaling_config")? {
        Some(scaling) => scaling.needed_number("desired_size")?,
        None => return Err(Why::not_modelled("it has no `scaling_config`.")),
    };
    let template = if view.count("launch_template")?.unwrap_or(0) > 0 {
        desk.neighbour("aws_launch_template", &[]).map(|(_, template)| template)
    } else {
        None
    };
    desk.part("instance", |desk| {
        let types = view.texts("instance_types")?;
        if types.len() > 1 {
            desk.assume("Node groups of several types run the first of them.");
        }
        let class = match (types.first(), template) {
            (Some(class), _) => class.clone(),
            (None, Some(template)) => template.needed("instance_type")?,
            (None, None) => {
                desk.assume("Node groups without a type run t3.medium, the provider's default.");
                "t3.medium".to_owned()
            }
        };
        instances(desk, number, &class)
    });
    desk.part("disk", |desk| {
        if let Some(template) = template {
            return template_volumes(desk, template, number);
        }
        let size = view.number_or("disk_size", 20)?;
        desk.assume("Disks of nodes are gp2, 20 GB where no size is set.");
        volume(desk, "disk", number, "gp2", size, view)
    });
    Ok(())
}

pub(super) fn ecs_service(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    let strategies = view.blocks("capacity_provider_strategy")?;
    let mut fargate = view.text_or("launch_type", "")? == "FARGATE";
    for strategy in &strategies {
        match strategy.needed("capacity_provider")?.as_str() {
            "FARGATE" => fargate = true,
            "FARGATE_SPOT" => {
                return Err(Why::not_modelled(
                    "spot prices change by the hour and are not priced.",
                ));
            }
            _ => {}
        }
    }
    if !fargate {
        desk.assume("ECS services that are not on Fargate cost nothing beside their instances.");
        return Ok(());
    }
    let number = view.number_or("desired_count", 1)?;
    let Some((_, task)) = desk.neighbour("aws_ecs_task_definition", &["task_definition"]) else {
        return Err(Why::not_modelled("its task definition is not in the plan."));
    };
    let arch = match task.block("runtime_platform")? {
        Some(platform) => platform.text_or("cpu_architecture", "X86_64")?,
        None => "X86_64".to_owned(),
    };
    let arch = arch.to_lowercase();
    let cpu = task.needed_number("cpu")?;
    let memory = task.needed_number("memory")?;
    let share = |n: Amount| n.by(Amount::whole(1024)).unwrap_or_default();
    desk.part("vcpu", |desk| {
        let vcpus = times(share(cpu), number)?;
        desk.hourly(
            "vcpu",
            format!("vCPU (Fargate, {arch})"),
            &format!("fargate/{arch}/vcpu"),
            vcpus,
        );
        Ok(())
    });
    desk.part("memory", |desk| {
        let all = times(times(share(memory), number)?, month())?;
        desk.line(
            "memory",
            format!("Memory (Fargate, {arch})"),
            &format!("fargate/{arch}/gb"),
            "GB-hour",
            all,
        );
        Ok(())
    });
    desk.part("disk", |desk| {
        if let Some(disk) = task.block("ephemeral_storage")? {
            let more = disk.needed_number("size_in_gib")?.minus(Amount::whole(20));
            if more > Amount::ZERO {
                let all = times(times(more, number)?, month())?;
                desk.line("disk", "Disk above 20 GB (Fargate)", "fargate/storage", "GB-hour", all);
            }
        }
        Ok(())
    });
    Ok(())
}

pub(super) fn lambda(desk: &mut Desk<'_>) -> Result<(), Why> {
    let view = desk.view;
    desk.used(
        "requests",
        "Requests",
        "lambda/requests",
        "1M requests",
        "monthly_requests",
        1_000_000,
    );
    desk.part("duration", |desk| {
        let arch = view.texts("architectures")?.into_iter().next();
        let arch = arch.unwrap_or_else(|| "x86_64".to_owned());
        let name = format!("Duration ({arch})");
        let key = format!("lambda/{arch}");
        let memory = view.number_or("memory_size", 128)?;
        let (requests, ms) = (desk.usage("monthly_requests"), desk.usage("request_duration_ms"));
        if let (Some(requests), Some(ms)) = (requests, ms) {
            let seconds = times(requests, ms)?.by(Amount::whole(1000)).unwrap_or_default();
            let gb = memory.by(Amount::whole(1024)).unwrap_or_default();
            let all = times(seconds, gb)?;
            desk.reckoned("duration", name, &key, "GB-second", all);
        } else {
            desk.used("duration", name, &key, "GB-second", "monthly_gb_seconds", 1);
        }
        Ok(())
    });
    desk.assume("The free tiers of an account are not taken off.");
    Ok(())
}
