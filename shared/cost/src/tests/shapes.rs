//! Plans in the shapes that Terraform prints.

use std::time::Instant;

use slipway_domain::cost::{CostGapReason, CostSide};

use super::*;

fn instance(class: &str) -> Value {
    json!({"instance_type": class, "root_block_device": [{"volume_type": "gp3", "volume_size": 10}]})
}

/// A month of `m5.large` with that root volume: 0.096 × 730 + 0.8.
const LARGE: &str = "70.88";

#[test]
fn before_after_and_delta_of_each_action() {
    let (small, large) = (instance("m5.large"), instance("m5.xlarge"));
    let null = Value::Null;
    let of = |address: &str, before: &Value, after: &Value| {
        change(address, "aws_instance", before, after)
    };
    let mut replaced = of("aws_instance.replaced", &small, &large);
    replaced["change"]["actions"] = json!(["delete", "create"]);
    let mut deposed = of("aws_instance.replaced", &small, &null);
    deposed["deposed"] = json!("ab12");
    let report = estimate(&plan_of(
        &[
            of("aws_instance.made", &null, &small),
            of("aws_instance.kept", &small, &small),
            of("aws_instance.grown", &small, &large),
            of("module.m[\"a\"].aws_instance.gone[0]", &small, &null),
            replaced,
            deposed,
            json!({"address": "data.aws_ami.a", "mode": "data", "type": "aws_ami", "name": "a",
                   "change": {"actions": ["read"], "before": null, "after": {}}}),
        ],
        &[
            json!({"mode": "managed", "type": "aws_instance", "name": "made", "provider_config_key": "aws", "expressions": {"instance_type": {}}}),
        ],
    ));
    let large = "140.96";
    let all: Vec<_> = report
        .resources
        .iter()
        .map(|r| (r.address.as_str(), r.monthly_before.to_string(), r.monthly_after.to_string()))
        .collect();
    let text = |a: &'static str, b: &str, c: &str| (a, b.to_owned(), c.to_owned());
    assert_eq!(
        all,
        [
            text("aws_instance.grown", LARGE, large),
            text("aws_instance.kept", LARGE, LARGE),
            text("aws_instance.made", "0", LARGE),
            text("aws_instance.replaced", LARGE, large),
            text("aws_instance.replaced (deposed ab12)", LARGE, "0"),
            text("module.m[\"a\"].aws_instance.gone[0]", LARGE, "0"),
        ]
    );
    assert_eq!(report.monthly_before, amount("354.4"));
    assert_eq!(report.monthly_after, amount("423.68"));
    assert_eq!(report.monthly_delta, amount("69.28"));
    assert!(report.complete, "{:?}", report.unpriced);
    assert_eq!(report.line(), "423.68 USD a month (+69.28, from 354.40)");
}

#[test]
fn what_is_known_only_after_apply_is_said_and_is_no_saving() {
    // The class is not known: neither is what it costs, nor may the old class look saved.
    let mut grown = change(
        "aws_instance.x",
        "aws_instance",
        &instance("m5.large"),
        &json!({"root_block_device": [{"volume_type": "gp3", "volume_size": 10}]}),
    );
    grown["change"]["after_unknown"] = json!({"instance_type": true});
    let written = json!({"mode": "managed", "type": "aws_instance", "name": "x", "provider_config_key": "aws",
        "expressions": {"instance_type": {"references": ["data.x.y"]}, "root_block_device": [{}]}});
    let report = estimate(&plan_of(&[grown], &[written]));
    assert_eq!(report.unpriced.len(), 1, "{:?}", report.unpriced);
    let gap = &report.unpriced[0];
    assert_eq!((gap.reason, gap.side), (CostGapReason::KnownAfterApply, CostSide::After));
    assert_eq!(gap.detail, "`instance_type` is known only after apply.");
    assert!(!report.complete);
    assert_eq!((report.monthly_before, report.monthly_delta), (amount("0.8"), Amount::ZERO));

    // The size of a volume alone: the instance is priced.
    let mut made = create(
        "aws_instance.x",
        &json!({"instance_type": "m5.large", "root_block_device": [{"volume_type": "gp3"}]}),
    );
    made["change"]["after_unknown"] = json!({"root_block_device": [{"volume_size": true}]});
    let written = json!({"mode": "managed", "type": "aws_instance", "name": "x", "provider_config_key": "aws",
        "expressions": {"instance_type": {}, "root_block_device": [{"volume_size": {"references": ["x.y"]}}]}});
    let report = estimate(&plan_of(&[made], &[written]));
    assert_eq!(report.monthly_after, amount("70.08"));
    assert_eq!(report.unpriced[0].component, "root_block_device");

    // A computed attribute that nobody set has its default, and that is said.
    let mut made = create("aws_instance.x", &json!({"instance_type": "m5.large"}));
    made["change"]["after_unknown"] =
        json!({"root_block_device": true, "ebs_block_device": true, "availability_zone": true});
    let written = json!({"mode": "managed", "type": "aws_instance", "name": "x", "provider_config_key": "aws",
        "expressions": {"instance_type": {}}});
    let report = estimate(&plan_of(&[made], &[written]));
    assert_eq!(report.monthly_after, amount("70.88"));
    assert!(report.assumptions.iter().any(|a| a.text.contains("8 GB of gp2") && a.resources == 1));
}

#[test]
fn a_region_without_rows_and_no_region_are_listed() {
    let report = estimate(&plan_of(
        &[
            create(
                "aws_instance.far",
                &json!({"instance_type": "m5.large", "region": "sa-east-1"}),
            ),
            create(
                "azurerm_public_ip.x",
                &json!({"allocation_method": "Static", "sku": "Standard"}),
            ),
            create("aws_instance.odd", &json!({"instance_type": "zz9.large"})),
        ],
        &[],
    ));
    assert_eq!(report.monthly_after, amount("0.8"), "the root volume of the third");
    let said: Vec<_> = report.unpriced.iter().map(|g| (g.address.as_str(), g.reason)).collect();
    assert_eq!(
        said,
        [
            ("aws_instance.far", CostGapReason::NoPrice),
            ("aws_instance.far", CostGapReason::NoPrice),
            ("aws_instance.odd", CostGapReason::NoPrice),
            ("azurerm_public_ip.x", CostGapReason::NoRegion),
        ]
    );
    assert!(
        report.unpriced[0].detail.contains("no price for sa-east-1"),
        "{:?}",
        report.unpriced[0]
    );
    assert!(report.unpriced[2].detail.contains("in any region"), "{:?}", report.unpriced[2]);
}

#[test]
fn the_region_is_found_where_the_plan_says_it() {
    let provider =
        |region: Value| json!({"aws": {"name": "aws", "expressions": {"region": region}}});
    let plan = |region: Value, after: Value| {
        json!({
            "format_version": "1.2",
            "variables": {"region": {"value": "eu-west-1"}, "cfg": {"value": {"aws": {"region": "eu-central-1"}}}},
            "resource_changes": [
                {"address": "module.a[0].module.b.aws_eip.x", "mode": "managed", "type": "aws_eip", "name": "x",
                 "change": {"actions": ["create"], "before": null, "after": after, "after_unknown": {}}}],
            "configuration": {
                "provider_config": provider(region),
                "root_module": {"module_calls": {"a": {"expressions": {}, "module": {"module_calls": {"b": {"module": {
                    "resources": [{"mode": "managed", "type": "aws_eip", "name": "x", "provider_config_key": "aws", "expressions": {}}]}}}}}}},
            },
        })
    };
    let nothing = json!({});
    for (region, after, found) in [
        (json!({"constant_value": "us-west-2"}), &nothing, Some("us-west-2")),
        (json!({"references": ["var.region"]}), &nothing, Some("eu-west-1")),
        (
            json!({"references": ["var.cfg.aws.region", "var.cfg.aws", "var.cfg"]}),
            &nothing,
            Some("eu-central-1"),
        ),
        (json!({"references": ["var.region", "terraform.workspace"]}), &nothing, None),
        (json!({"references": ["local.region"]}), &nothing, None),
        (
            json!({"constant_value": "us-west-2"}),
            &json!({"region": "ap-northeast-2"}),
            Some("ap-northeast-2"),
        ),
        (
            json!({"references": ["local.region"]}),
            &json!({"availability_zone": "ap-northeast-1c"}),
            Some("ap-northeast-1"),
        ),
        (
            json!({"references": ["local.region"]}),
            &json!({"arn": "arn:aws:ec2:us-east-1:1:eip/x"}),
            Some("us-east-1"),
        ),
    ] {
        let report = estimate(&plan(region.clone(), after.clone()));
        let got = report.resources.first().and_then(|r| r.region.as_deref());
        assert_eq!(got, found, "{region} {after}");
        assert_eq!(report.unpriced.is_empty(), found.is_some());
    }
    // Where the plan does not say it, people can; and that is said.
    let settings = settings(json!({"default_regions": {"aws": "us-east-1"}}));
    let report =
        try_estimate(&plan(json!({"references": ["local.x"]}), json!({})), &settings).unwrap();
    assert_eq!(report.monthly_after, amount("3.65"));
    assert!(report.assumptions[0].text.contains("us-east-1"));
}

#[test]
fn modules_give_their_providers_variables() {
    let plan = json!({
        "format_version": "1.2",
        "variables": {"where": {"value": "ap-northeast-2"}},
        "resource_changes": [
            {"address": "module.a.aws_nat_gateway.x", "mode": "managed", "type": "aws_nat_gateway", "name": "x",
             "change": {"actions": ["create"], "before": null, "after": {}, "after_unknown": {}}}],
        "configuration": {
            "provider_config": {"module.a:aws": {"name": "aws", "module_address": "module.a",
                "expressions": {"region": {"references": ["var.region"]}}}},
            "root_module": {"module_calls": {"a": {"expressions": {"region": {"references": ["var.where"]}}, "module": {
                "resources": [{"mode": "managed", "type": "aws_nat_gateway", "name": "x",
                               "provider_config_key": "module.a:aws", "expressions": {}}]}}}},
        },
    });
    let report = estimate(&plan);
    assert_eq!(report.resources[0].region.as_deref(), Some("ap-northeast-2"));
    assert_eq!(report.monthly_after, amount("43.07"));
}

#[test]
fn a_launch_template_is_found_through_the_configuration() {
    let mut group = create(
        "module.m.aws_autoscaling_group.g",
        &json!({"min_size": 2, "launch_template": [{}]}),
    );
    group["type"] = json!("aws_autoscaling_group");
    group["change"]["after_unknown"] = json!({"launch_template": [{"id": true}]});
    let mut template =
        create("module.m.aws_launch_template.t[0]", &json!({"instance_type": "c5.large"}));
    template["type"] = json!("aws_launch_template");
    // Another one of the same name elsewhere is not meant.
    let other = create("aws_launch_template.t", &json!({"instance_type": "c5.24xlarge"}));
    let mut plan = plan_of(&[group, other, template], &[]);
    plan["configuration"]["root_module"]["module_calls"] = json!({"m": {"module": {"resources": [
        {"mode": "managed", "type": "aws_autoscaling_group", "name": "g", "provider_config_key": "aws",
         "expressions": {"min_size": {}, "launch_template": [{"id": {"references":
            ["aws_launch_template.t[0].id", "aws_launch_template.t[0]", "aws_launch_template.t"]}}]}},
    ]}}});
    let report = estimate(&plan);
    // 2 × 0.085 × 730 + 2 × 8 × 0.1
    assert_eq!(report.monthly_after, amount("125.7"), "{:#?}", report.unpriced);
    assert_eq!(report.free[0].count, 2);
}

#[test]
fn of_several_neighbours_the_one_of_the_same_index_is_meant() {
    let mut changes = Vec::new();
    for (i, class) in ["c5.large", "c5.xlarge"].iter().enumerate() {
        let mut group = create(
            &format!("module.m[\"k\"].aws_autoscaling_group.g[{i}]"),
            &json!({"min_size": 1, "launch_template": [{}]}),
        );
        group["type"] = json!("aws_autoscaling_group");
        let mut template = create(
            &format!("module.m[\"k\"].aws_launch_template.t[{i}]"),
            &json!({"instance_type": class}),
        );
        template["type"] = json!("aws_launch_template");
        changes.extend([group, template]);
    }
    let mut plan = plan_of(&changes, &[]);
    plan["configuration"]["root_module"]["module_calls"] = json!({"m": {"module": {"resources": [
        {"mode": "managed", "type": "aws_autoscaling_group", "name": "g", "provider_config_key": "aws",
         "expressions": {"min_size": {}, "launch_template": [{"id": {"references":
            ["aws_launch_template.t", "count.index"]}}]}}]}}});
    let report = estimate(&plan);
    let months: Vec<_> = report.resources.iter().map(|r| r.monthly_after.to_string()).collect();
    assert_eq!(months, ["62.85", "124.9"], "{:#?}", report.unpriced);
}

#[test]
fn what_a_provider_fills_in_of_several_blocks_is_not_unknown() {
    let mut made = create(
        "aws_instance.x",
        &json!({"instance_type": "m5.large",
        "root_block_device": [{"volume_type": "gp3", "volume_size": 10}],
        "ebs_block_device": [{"volume_type": "gp3", "volume_size": 10}, {"volume_type": "gp3", "volume_size": 20}]}),
    );
    made["change"]["after_unknown"] = json!({"root_block_device": [{"iops": true, "throughput": true}],
        "ebs_block_device": [{"iops": true, "throughput": true}, {"iops": true, "throughput": true}]});
    let written = |block: Value| {
        json!({"mode": "managed", "type": "aws_instance", "name": "x", "provider_config_key": "aws",
        "expressions": {"instance_type": {}, "root_block_device": [{"volume_size": {}, "volume_type": {}}],
                        "ebs_block_device": [{"volume_size": {}, "volume_type": {}}, block]}})
    };
    let report =
        estimate(&plan_of(std::slice::from_ref(&made), &[written(json!({"volume_size": {}}))]));
    assert_eq!(report.monthly_after, amount("73.28"), "{:?}", report.unpriced);
    assert!(report.complete);
    // Where one of them sets it, either may be the one.
    let report = estimate(&plan_of(&[made], &[written(json!({"iops": {"references": ["x.y"]}}))]));
    assert_eq!(report.unpriced.len(), 2, "{:?}", report.unpriced);
    assert_eq!(report.unpriced[0].component, "ebs_block_device[0]/iops");
}

#[test]
fn thousands_of_one_name_do_not_take_for_ever() {
    let mut changes = Vec::new();
    for i in 0..5000 {
        changes.push(create(
            &format!("aws_launch_template.t[{i}]"),
            &json!({"id": "lt", "instance_type": "c5.large"}),
        ));
        changes.push(create(
            &format!("aws_autoscaling_group.g[{i}]"),
            &json!({"min_size": 1, "id": "lt", "name": "lt"}),
        ));
    }
    let start = Instant::now();
    let report = estimate(&plan_of(&changes, &[]));
    assert_eq!(report.resources.len(), 5000);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn unsupported_types_are_listed_and_free_ones_counted() {
    let mut changes: Vec<_> =
        (0..60).map(|i| create(&format!("aws_sagemaker_endpoint.x[{i}]"), &json!({}))).collect();
    changes.push(create("aws_iam_role.r", &json!({})));
    changes.push(create("random_id.r", &json!({})));
    let report = estimate(&plan_of(&changes, &[]));
    assert_eq!(report.unsupported.len(), 1);
    assert_eq!((report.unsupported[0].count, report.unsupported[0].addresses.len()), (60, 50));
    assert_eq!(report.free.iter().map(|f| f.count).sum::<u32>(), 2);
    assert!(!report.complete);
    assert_eq!(report.monthly_after, Amount::ZERO);
}

#[test]
fn usage_is_by_address_then_by_type_and_what_is_misspelt_is_said() {
    let changes = [
        create("aws_s3_bucket.a", &json!({})),
        create("aws_s3_bucket.b[0]", &json!({})),
        create("aws_s3_bucket.c", &json!({})),
    ];
    let settings = settings(json!({"usage": {
        "types": {"aws_s3_bucket": {"storage_gb": "1", "gb": 1}, "aws_ecr_repository": {"storage_gb": 1}},
        "resources": {"aws_s3_bucket.a": {"storage_gb": 1000, "storage_qb": 1}, "aws_s3_bucket.b[*]": {"storage_gb": 100},
                      "aws_s3_bucket.none": {"storage_gb": 5}},
    }}));
    let report = try_estimate(&plan_of(&changes, &[]), &settings).unwrap();
    assert_eq!(report.monthly_after, amount("25.323"));
    let misspelt: Vec<_> = report.warnings.iter().filter(|w| w.contains("usage doc")).collect();
    assert_eq!(misspelt.len(), 3, "{misspelt:?}");
    // What nobody said is listed, and not in the totals.
    assert_eq!(report.usage_based.len(), 6);
    assert_eq!(report.usage_based[0].usage_key, "monthly_tier_2_requests");
    assert!(report.resources[0].components[0].from_usage);
}

#[test]
fn currencies_are_converted_by_a_dated_rate_or_not_at_all() {
    let changes = [create("aws_eip.x", &json!({})), create("ncloud_public_ip.x", &json!({}))];
    let plan = plan_of(&changes, &[]);
    let report = estimate(&plan);
    assert_eq!(report.monthly_after, amount("3.65"));
    assert_eq!(report.unpriced[0].reason, CostGapReason::NoRate);
    assert!(report.unpriced[0].detail.contains("KRW→USD"));

    let rate =
        |as_of: &str, rate: &str| json!({"from": "USD", "to": "KRW", "rate": rate, "as_of": as_of});
    let rates = json!([rate("2024-01-01", "1000"), rate("2024-12-01", "1400")]);
    let report =
        try_estimate(&plan, &settings(json!({"currency": "KRW", "rates": rates}))).unwrap();
    // 3.65 × 1400 + 4088
    assert_eq!(report.monthly_after, amount("9198"));
    assert_eq!((report.rates.len(), report.rates[0].rate), (1, amount("1400")));
    let eip = &report.resources[0].components[0];
    assert_eq!(
        (eip.price, eip.listed_price, eip.listed_currency.as_deref()),
        (amount("7"), Some(amount("0.005")), Some("USD"))
    );

    // The same rate the other way round: 5.6 / 1400 = 0.004 an hour.
    let report = try_estimate(&plan, &settings(json!({"rates": rates}))).unwrap();
    assert_eq!(report.monthly_after, amount("6.57"));
    assert!(report.complete);
}

#[test]
fn the_age_of_the_book_and_of_rates_is_said() {
    let document = serde_json::to_vec(&plan_of(&[create("aws_eip.x", &json!({}))], &[])).unwrap();
    let book = Book::shipped().unwrap();
    let at = |day: &str| {
        let report = book
            .estimate(&document, &CostSettings::default(), day.parse().unwrap(), Limits::default())
            .unwrap();
        (report.book.clone(), report.warnings)
    };
    let (age, warnings) = at("2024-12-01");
    assert_eq!(age.oldest.unwrap().to_string(), "2024-11-01");
    assert_eq!((age.newest, age.shipped_prices, age.imported_prices), (age.oldest, 1, 0));
    assert!(warnings.len() == 1 && warnings[0].contains("not checked"), "{warnings:?}");
    let (_, warnings) = at("2026-01-01");
    assert!(warnings[0].contains("426 days ago"), "{warnings:?}");
}

#[test]
fn a_sensitive_value_is_not_read() {
    let mut made = create("aws_eip.x", &json!({}));
    made["type"] = json!("aws_db_instance");
    made["change"]["after"] =
        json!({"engine": "mysql", "instance_class": "db.secret.large", "allocated_storage": 10});
    made["change"]["after_sensitive"] = json!({"instance_class": true});
    let report = estimate(&plan_of(&[made], &[]));
    assert_eq!(report.monthly_after, amount("1.15"));
    assert!(report.unpriced[0].detail.contains("sensitive"));
    assert!(!serde_json::to_string(&report).unwrap().contains("db.secret"));
}

#[test]
fn planned_values_stand_in_where_changes_are_not_listed() {
    let plan = json!({
        "format_version": "1.2",
        "planned_values": {"root_module": {"resources": [], "child_modules": [{"resources": [
            {"address": "module.a.aws_eip.x", "mode": "managed", "type": "aws_eip", "values": {"availability_zone": "us-east-1a"}}]}]}},
        "prior_state": {"values": {"root_module": {"child_modules": [{"resources": [
            {"address": "module.a.aws_eip.x", "mode": "managed", "type": "aws_eip", "values": {"availability_zone": "us-east-1a"}}]}]}}},
    });
    let report = estimate(&plan);
    assert_eq!((report.monthly_before, report.monthly_after), (amount("3.65"), amount("3.65")));
}

#[test]
fn forgotten_resources_go_on_costing_and_that_is_said() {
    let mut forgotten = change("aws_eip.x", "aws_eip", &json!({}), &Value::Null);
    forgotten["change"]["actions"] = json!(["forget"]);
    let report = estimate(&plan_of(&[forgotten], &[]));
    assert!(
        report.warnings.iter().any(|w| w.contains("only dropped from the state")),
        "{:?}",
        report.warnings
    );
}

/// A plan of as many resources, of several kinds.
fn large(number: usize) -> Value {
    let mut changes = Vec::new();
    let mut written = Vec::new();
    for i in 0..number {
        let (kind, after) = match i % 5 {
            0 => ("aws_instance", instance("m5.large")),
            1 => ("aws_ebs_volume", json!({"type": "gp3", "size": 100})),
            2 => ("aws_iam_role", json!({"name": "r"})),
            3 => (
                "aws_db_instance",
                json!({"engine": "mysql", "instance_class": "db.t3.micro", "allocated_storage": 20}),
            ),
            _ => ("aws_s3_bucket", json!({"bucket": "b"})),
        };
        changes.push(create(&format!("{kind}.x{i}"), &after));
        written.push(json!({"mode": "managed", "type": kind, "name": format!("x{i}"), "provider_config_key": "aws",
            "expressions": {"instance_type": {}, "root_block_device": [{"volume_size": {}, "volume_type": {}}], "size": {}, "type": {},
                            "engine": {}, "instance_class": {}, "allocated_storage": {}}}));
    }
    plan_of(&changes, &written)
}

#[test]
fn five_hundred_resources_are_priced_and_quickly() {
    let document = serde_json::to_vec(&large(500)).unwrap();
    let book = Book::shipped().unwrap();
    let start = Instant::now();
    let report =
        book.estimate(&document, &CostSettings::default(), today(), Limits::default()).unwrap();
    let taken = start.elapsed();
    // 100 × (70.88 + 8 + (0.017 × 730 + 2.3))
    assert_eq!(report.monthly_after, amount("9359"));
    assert_eq!(report.free[0].count, 100);
    assert_eq!(report.usage_based.len(), 400);
    assert!(report.complete);
    // It takes a few milliseconds; this only catches what grows with the square.
    assert!(taken.as_secs() < 5, "{taken:?}");
}

#[test]
fn infracost_reads_what_is_written_for_it() {
    let mut grown =
        change("aws_instance.web", "aws_instance", &instance("m5.large"), &instance("m5.xlarge"));
    grown["name"] = json!("web");
    let plan = plan_of(
        &[
            grown,
            create("aws_s3_bucket.logs", &json!({})),
            create("aws_iam_role.r", &json!({})),
            create("aws_sagemaker_endpoint.e", &json!({})),
            create("aws_lambda_function.f", &json!({"memory_size": 1024})),
            change("aws_eip.old", "aws_eip", &json!({}), &Value::Null),
        ],
        &[],
    );
    let settings = settings(json!({"usage": {"resources": {
        "aws_lambda_function.f": {"monthly_requests": 1_000_000, "request_duration_ms": 250}}}}));
    let report = try_estimate(&plan, &settings).unwrap();
    let at = "2025-01-01T00:00:00Z".parse().unwrap();
    let written = report.to_infracost("web", at);
    let text = serde_json::to_string_pretty(&written).unwrap() + "\n";
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/infracost.json");
    if std::env::var_os("SLIPWAY_TEST_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(golden).unwrap(), text);

    // And it comes back as it was.
    let back = crate::infracost::read(text.as_bytes(), Limits::default()).unwrap();
    assert_eq!(back.monthly_before, report.monthly_before);
    assert_eq!(back.monthly_after, report.monthly_after);
    assert_eq!(back.monthly_delta, report.monthly_delta);
    assert_eq!(back.unsupported[0].kind, "aws_sagemaker_endpoint");
    assert_eq!(back.usage_based.len(), report.usage_based.len());
    assert!(!back.complete);
}
