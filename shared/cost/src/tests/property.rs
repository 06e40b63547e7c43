//! What holds for every plan.

use proptest::prelude::*;

use super::*;

fn resource() -> impl Strategy<Value = (String, Value, Value)> {
    let class = prop_oneof!["m5.large", "t3.micro", "c5.2xlarge", "zz.large", ""];
    let instance = (class, 0_i64..5000, prop_oneof!["gp2", "gp3", "odd"]).prop_map(|(class, size, kind)| {
        json!({"instance_type": class, "root_block_device": [{"volume_size": size, "volume_type": kind}]})
    });
    let volume =
        (-5_i64..100_000).prop_map(|size| json!({"size": size, "type": "gp3", "iops": size}));
    let side = |of: BoxedStrategy<Value>| prop_oneof![1 => Just(Value::Null), 3 => of];
    prop_oneof![
        (side(instance.clone().boxed()), side(instance.boxed())).prop_map(|(b, a)| (
            "aws_instance".to_owned(),
            b,
            a
        )),
        (side(volume.clone().boxed()), side(volume.boxed())).prop_map(|(b, a)| (
            "aws_ebs_volume".to_owned(),
            b,
            a
        )),
        Just(("aws_sagemaker_endpoint".to_owned(), Value::Null, json!({}))),
        Just(("aws_iam_role".to_owned(), json!({}), json!({}))),
        Just(("ncloud_public_ip".to_owned(), Value::Null, json!({}))),
        Just(("aws_lambda_function".to_owned(), Value::Null, json!({}))),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let names = prop_oneof![
            "instance_type",
            "size",
            "type",
            "root_block_device",
            "ebs_block_device",
            "region",
            "zone",
            "location",
            "settings",
            "tier",
            "engine",
            "instance_class",
            "scaling_config",
            "os_disk",
            "node_config",
            "launch_template",
            "iops",
            "machine_type",
            "sku_name",
            "cluster_config"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sums_are_right_and_order_does_not_matter(
        resources in prop::collection::vec(resource(), 0..12),
        turn in any::<prop::sample::Index>(),
    ) {
        let mut changes: Vec<Value> = resources
            .iter()
            .enumerate()
            .map(|(i, (kind, before, after))| change(&format!("{kind}.x{i}"), kind, before, after))
            .collect();
        let report = estimate(&plan_of(&changes, &[]));
        prop_assert_eq!(report.monthly_delta, report.monthly_after.minus(report.monthly_before));
        let mut sums = (Amount::ZERO, Amount::ZERO);
        for r in &report.resources {
            let sum = |lines: &[slipway_domain::cost::CostComponent]| {
                lines.iter().fold(Amount::ZERO, |sum, line| sum.plus(line.monthly_cost))
            };
            prop_assert_eq!(sum(&r.components), r.monthly_after);
            prop_assert_eq!(sum(&r.components_before), r.monthly_before);
            prop_assert_eq!(r.monthly_delta, r.monthly_after.minus(r.monthly_before));
            for line in &r.components {
                prop_assert_eq!(Some(line.monthly_cost), line.price.times(line.monthly_quantity));
                prop_assert!(!line.monthly_cost.is_negative());
            }
            sums = (sums.0.plus(r.monthly_before), sums.1.plus(r.monthly_after));
        }
        prop_assert_eq!(sums, (report.monthly_before, report.monthly_after));
        prop_assert_eq!(report.complete, report.unpriced.is_empty() && report.unsupported.is_empty());

        // Nothing is lost: each resource is priced, listed or counted.
        let there = changes.iter().filter(|c| !(c["change"]["before"].is_null() && c["change"]["after"].is_null()));
        for c in there {
            let address = c["address"].as_str().unwrap();
            let kind = c["type"].as_str().unwrap();
            prop_assert!(
                report.resources.iter().any(|r| r.address == address)
                    || report.unpriced.iter().any(|g| g.address == address)
                    || report.unsupported.iter().any(|u| u.kind == kind)
                    || report.free.iter().any(|f| f.kind == kind),
                "{}", address
            );
        }

        if !changes.is_empty() {
            let at = turn.index(changes.len());
            changes.rotate_left(at);
        }
        let turned = estimate(&plan_of(&changes, &[]));
        prop_assert_eq!(&turned.resources, &report.resources);
        prop_assert_eq!(&turned.unpriced, &report.unpriced);
        prop_assert_eq!(turned.monthly_delta, report.monthly_delta);
    }

    #[test]
    fn attributes_of_any_shape_never_panic(
        after in any_json(), before in any_json(), unknown in any_json(), written in any_json(),
        which in any::<prop::sample::Index>(),
    ) {
        let kinds: Vec<_> = crate::priced_types().collect();
        let kind = kinds[which.index(kinds.len())].name;
        let mut made = change(&format!("{kind}.x"), kind, &before, &after);
        made["change"]["after_unknown"] = unknown;
        let written = json!({"mode": "managed", "type": kind, "name": "x", "provider_config_key": "aws", "expressions": written});
        let report = estimate(&plan_of(&[made], &[written]));
        prop_assert!(!report.monthly_after.is_negative());
    }

    #[test]
    fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Book::default().estimate(&bytes, &CostSettings::default(), today(), Limits::default());
        let _ = crate::infracost::read(&bytes, Limits::default());
        for format in crate::import::Format::ALL {
            let taken = crate::import::read(format, bytes.as_slice(), today(), crate::import::Bounds::default());
            prop_assert!(taken.is_err());
        }
    }
}
