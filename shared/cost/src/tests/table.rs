//! Every type that is priced, reckoned by hand from the shipped book.

use std::collections::BTreeSet;

use super::*;

struct Case {
    kind: &'static str,
    after: Value,
    /// Other resources that belong to it.
    beside: Vec<Value>,
    usage: Value,
    /// A month of the resource, and how it was reckoned.
    month: &'static str,
    currency: &'static str,
}

fn case(kind: &'static str, after: Value, month: &'static str) -> Case {
    Case { kind, after, beside: Vec::new(), usage: json!({}), month, currency: "USD" }
}

fn used(kind: &'static str, after: Value, usage: Value, month: &'static str) -> Case {
    Case { usage, ..case(kind, after, month) }
}

fn beside(kind: &'static str, after: Value, beside: Vec<Value>, month: &'static str) -> Case {
    Case { beside, ..case(kind, after, month) }
}

fn won(kind: &'static str, after: Value, month: &'static str) -> Case {
    Case { currency: "KRW", ..case(kind, after, month) }
}

fn aws() -> Vec<Case> {
    let template = || {
        create(
            "aws_launch_template.t",
            &json!({"id": "lt-1", "instance_type": "t3.micro", "block_device_mappings": [
                {"device_name": "/dev/xvda", "ebs": [{"volume_size": 20, "volume_type": "gp3"}]}]}),
        )
    };
    vec![
        // 2 × 0.096 × 730 = 140.16; 50 × 0.08 = 4
        case(
            "aws_instance",
            json!({"instance_type": "m5.xlarge", "root_block_device": [{"volume_type": "gp3", "volume_size": 50}]}),
            "144.16",
        ),
        // 0.0832 / 8 × 730 = 7.592; address 3.65; root 8 × 0.1 = 0.8; 100 × 0.125 + 200 × 0.065 = 25.5
        case(
            "aws_instance",
            json!({"instance_type": "t3.micro", "associate_public_ip_address": true,
                   "ebs_block_device": [{"volume_type": "io1", "volume_size": 100, "iops": 200}]}),
            "37.542",
        ),
        case(
            "aws_instance",
            json!({"instance_type": "g4dn.xlarge", "region": "ap-northeast-2"}),
            "473.222",
        ),
        used(
            "aws_instance",
            json!({"instance_type": "m5.large"}),
            json!({"monthly_hours": 100}),
            "10.4",
        ),
        // 3 × 0.0104 × 730 = 22.776; 3 × 20 × 0.08 = 4.8
        beside(
            "aws_autoscaling_group",
            json!({"desired_capacity": 3, "min_size": 1, "launch_template": [{"id": "lt-1"}], "id": "lt-1"}),
            vec![template()],
            "27.576",
        ),
        // 100 × 0.08 + 1000 × 0.005 + 125 × 0.04
        case(
            "aws_ebs_volume",
            json!({"type": "gp3", "size": 100, "iops": 4000, "throughput": 250}),
            "18",
        ),
        case("aws_ebs_volume", json!({"size": 10}), "1"),
        // 100 × 0.125 + 32000 × 0.065 + 8000 × 0.0455
        case("aws_ebs_volume", json!({"type": "io2", "size": 100, "iops": 40000}), "2456.5"),
        case("aws_ebs_volume", json!({"type": "st1", "size": 1000}), "45"),
        case("aws_ebs_volume", json!({"type": "sc1", "size": 1000}), "15"),
        used(
            "aws_ebs_volume",
            json!({"type": "standard", "size": 100}),
            json!({"monthly_standard_io_requests": 2_000_000}),
            "5.1",
        ),
        used("aws_ebs_snapshot", json!({}), json!({"storage_gb": 100}), "5"),
        used("aws_ebs_snapshot_copy", json!({}), json!({"storage_gb": 10}), "0.5"),
        // 0.018 × 730 + 20 × 0.115
        case(
            "aws_db_instance",
            json!({"engine": "postgres", "instance_class": "db.t3.micro", "allocated_storage": 20}),
            "15.44",
        ),
        // 2 × 2 × 0.171 × 730 = 499.32; 100 × 0.25; 1000 × 0.2
        case(
            "aws_db_instance",
            json!({"engine": "mysql", "instance_class": "db.m5.xlarge", "multi_az": true,
                   "allocated_storage": 100, "storage_type": "io1", "iops": 1000}),
            "724.32",
        ),
        // 0.129 × 730 = 94.17; 400 × 0.115 = 46; nothing for 12000 IOPS from 400 GB on; 1000 × 0.02
        case(
            "aws_db_instance",
            json!({"engine": "mariadb", "instance_class": "db.t4g.large", "allocated_storage": 400,
                   "storage_type": "gp3", "iops": 13000}),
            "160.17",
        ),
        used(
            "aws_rds_cluster",
            json!({"engine": "aurora-postgresql"}),
            json!({"storage_gb": 100, "monthly_io_requests": 10_000_000}),
            "12",
        ),
        case(
            "aws_rds_cluster_instance",
            json!({"engine": "aurora-mysql", "instance_class": "db.r5.xlarge"}),
            "423.4",
        ),
        // 0.5 × 730 × 0.12
        beside(
            "aws_rds_cluster_instance",
            json!({"engine": "aurora-mysql", "instance_class": "db.serverless", "cluster_identifier": "c"}),
            vec![create(
                "aws_rds_cluster.c",
                &json!({"id": "c", "engine": "aurora-mysql",
                        "serverlessv2_scaling_configuration": [{"min_capacity": 0.5, "max_capacity": 4}]}),
            )],
            "43.8",
        ),
        used("aws_nat_gateway", json!({}), json!({"monthly_data_processed_gb": 100}), "37.35"),
        case("aws_lb", json!({"load_balancer_type": "network"}), "16.425"),
        used("aws_alb", json!({}), json!({"monthly_lcu_hours": 730}), "22.265"),
        case("aws_elb", json!({"region": "eu-central-1"}), "21.9"),
        case("aws_eks_cluster", json!({"name": "c"}), "73"),
        // 2 × 0.0416 × 730 = 60.736; 2 × 20 × 0.1
        case(
            "aws_eks_node_group",
            json!({"instance_types": ["t3.medium"], "scaling_config": [{"desired_size": 2}]}),
            "64.736",
        ),
        case(
            "aws_elasticache_cluster",
            json!({"engine": "redis", "node_type": "cache.t3.micro", "num_cache_nodes": 2}),
            "24.82",
        ),
        // 2 shards of 1 + 1 nodes: 4 × 0.206 × 730
        case(
            "aws_elasticache_replication_group",
            json!({"node_type": "cache.r6g.large", "num_node_groups": 2, "replicas_per_node_group": 1}),
            "601.52",
        ),
        used(
            "aws_s3_bucket",
            json!({"bucket": "b"}),
            json!({"storage_gb": 1000, "monthly_tier_1_requests": 10000, "monthly_tier_2_requests": 100_000}),
            "23.09",
        ),
        // 1 million × 0.1 s × 0.5 GB = 50000 GB-seconds × 0.0000166667 = 0.833335; + 0.2
        used(
            "aws_lambda_function",
            json!({"memory_size": 512}),
            json!({"monthly_requests": 1_000_000, "request_duration_ms": 100}),
            "1.033335",
        ),
        used("aws_kms_key", json!({}), json!({"monthly_requests": 20000}), "1.06"),
        case("aws_kms_replica_key", json!({}), "1"),
        used("aws_route53_zone", json!({}), json!({"monthly_queries": 1_000_000}), "0.9"),
        used("aws_ecr_repository", json!({}), json!({"storage_gb": 10}), "1"),
        used(
            "aws_cloudwatch_log_group",
            json!({}),
            json!({"monthly_data_ingested_gb": 10, "storage_gb": 5}),
            "5.15",
        ),
        case("aws_cloudwatch_metric_alarm", json!({"period": 60}), "0.1"),
        case("aws_cloudwatch_metric_alarm", json!({"period": 10}), "0.3"),
        // (10 + 5) × 0.00065 × 730 + 5 × 0.00013 × 730 = 7.1175 + 0.4745
        case(
            "aws_dynamodb_table",
            json!({"write_capacity": 10, "read_capacity": 4,
                   "global_secondary_index": [{"write_capacity": 5, "read_capacity": 1}]}),
            "7.592",
        ),
        used(
            "aws_dynamodb_table",
            json!({"billing_mode": "PAY_PER_REQUEST"}),
            json!({"monthly_write_request_units": 2_000_000, "monthly_read_request_units": 4_000_000, "storage_gb": 10}),
            "4.25",
        ),
        used("aws_efs_file_system", json!({}), json!({"storage_gb": 100}), "30"),
        case(
            "aws_efs_file_system",
            json!({"throughput_mode": "provisioned", "provisioned_throughput_in_mibps": 10}),
            "60",
        ),
        case("aws_eip", json!({}), "3.65"),
        case(
            "aws_vpc_endpoint",
            json!({"vpc_endpoint_type": "Interface", "subnet_ids": ["a", "b"]}),
            "14.6",
        ),
        case("aws_secretsmanager_secret", json!({}), "0.4"),
        // 2 × 0.25 × 730 × 0.04048 = 14.7752; 2 × 0.5 × 730 × 0.004445 = 3.24485
        beside(
            "aws_ecs_service",
            json!({"launch_type": "FARGATE", "desired_count": 2, "task_definition": "arn:t"}),
            vec![create(
                "aws_ecs_task_definition.t",
                &json!({"arn": "arn:t", "cpu": "256", "memory": "512"}),
            )],
            "18.02005",
        ),
        // 2 × 0.142 × 730 = 207.32; 2 × 20 × 0.122 = 4.88
        case(
            "aws_opensearch_domain",
            json!({"cluster_config": [{"instance_type": "m5.large.search", "instance_count": 2}],
                   "ebs_options": [{"ebs_enabled": true, "volume_type": "gp3", "volume_size": 20}]}),
            "212.2",
        ),
        case(
            "aws_redshift_cluster",
            json!({"node_type": "ra3.xlplus", "number_of_nodes": 2}),
            "1585.56",
        ),
        case(
            "aws_mq_broker",
            json!({"engine_type": "ActiveMQ", "host_instance_type": "mq.m5.large",
                   "deployment_mode": "ACTIVE_STANDBY_MULTI_AZ"}),
            "420.48",
        ),
        // 3 × 0.21 × 730 = 459.9; 3 × 1000 × 0.1 = 300
        case(
            "aws_msk_cluster",
            json!({"number_of_broker_nodes": 3, "broker_node_group_info": [
                {"instance_type": "kafka.m5.large", "storage_info": [{"ebs_storage_info": [{"volume_size": 1000}]}]}]}),
            "759.9",
        ),
    ]
}

fn gcp() -> Vec<Case> {
    vec![
        // 0.02181159 × 730 = 15.9224607; 4 × 0.00292353 × 730 = 8.5367076; 20 × 0.1
        case(
            "google_compute_instance",
            json!({"machine_type": "e2-medium", "zone": "us-central1-a",
                   "boot_disk": [{"initialize_params": [{"size": 20, "type": "pd-balanced"}]}]}),
            "26.4591683",
        ),
        // 4 × 0.031611 × 730 + 15 × 0.004237 × 730 = 92.30412 + 46.39515; 375 × 0.08 = 30
        case(
            "google_compute_instance",
            json!({"machine_type": "n1-standard-4", "zone": "us-central1-b", "scratch_disk": [{}]}),
            "168.69927",
        ),
        case(
            "google_compute_instance",
            json!({"machine_type": "f1-micro", "zone": "us-central1-f"}),
            "5.548",
        ),
        case(
            "google_compute_disk",
            json!({"type": "pd-ssd", "size": 100, "zone": "asia-northeast3-a"}),
            "22.1",
        ),
        case(
            "google_compute_disk",
            json!({"type": "pd-extreme", "size": 100, "provisioned_iops": 1000, "zone": "us-central1-a"}),
            "77.5",
        ),
        case("google_compute_address", json!({"region": "europe-west1"}), "3.65"),
        case("google_compute_address", json!({"address_type": "INTERNAL"}), "0"),
        case("google_compute_global_address", json!({}), "3.65"),
        case(
            "google_container_cluster",
            json!({"location": "us-central1", "remove_default_node_pool": true}),
            "73",
        ),
        // 2 × 0.031611 × 730 = 46.15206; 2 × 3.75 × 0.004237 × 730 = 23.197575; 2 × 50 × 0.04 = 4
        case(
            "google_container_node_pool",
            json!({"location": "us-central1-a", "node_count": 2, "node_config": [
                {"machine_type": "n1-standard-1", "disk_size_gb": 50, "disk_type": "pd-standard"}]}),
            "73.349635",
        ),
        // In three zones: 3 × (24.4591683 + 100 × 0.1)
        case(
            "google_container_node_pool",
            json!({"location": "us-central1", "node_count": 1}),
            "103.3775049",
        ),
        // 2 × 0.0413 × 730 = 60.298; 7.5 × 0.007 × 730 = 38.325; 10 × 0.17
        case(
            "google_sql_database_instance",
            json!({"database_version": "POSTGRES_15", "settings": [{"tier": "db-custom-2-7680"}]}),
            "100.323",
        ),
        // Twice: 0.0105 × 730 + 20 × 0.09
        case(
            "google_sql_database_instance",
            json!({"settings": [{"tier": "db-f1-micro", "availability_type": "REGIONAL",
                                 "disk_type": "PD_HDD", "disk_size": 20}]}),
            "18.93",
        ),
        used("google_storage_bucket", json!({"location": "US"}), json!({"storage_gb": 100}), "2.6"),
    ]
}

fn azure() -> Vec<Case> {
    vec![
        // 0.0416 × 730 + 5.28
        case(
            "azurerm_linux_virtual_machine",
            json!({"location": "East US", "size": "standard_b2s", "os_disk": [{"storage_account_type": "Premium_LRS"}]}),
            "35.648",
        ),
        // 0.188 × 730 + 19.71
        case(
            "azurerm_windows_virtual_machine",
            json!({"location": "eastus", "size": "Standard_D2s_v5", "os_disk": [{"storage_account_type": "Premium_LRS"}]}),
            "156.95",
        ),
        // 0.096 × 730 + 1.536 + 2 × 0.0005
        used(
            "azurerm_windows_virtual_machine",
            json!({"location": "eastus", "size": "Standard_D2s_v5", "license_type": "Windows_Server",
                   "os_disk": [{"storage_account_type": "Standard_LRS", "disk_size_gb": 32}]}),
            json!({"monthly_disk_operations": 20000}),
            "71.617",
        ),
        case(
            "azurerm_managed_disk",
            json!({"location": "eastus", "storage_account_type": "Premium_LRS", "disk_size_gb": 500}),
            "73.22",
        ),
        // 73 + 2 × 0.096 × 730 + 2 × 19.71
        case(
            "azurerm_kubernetes_cluster",
            json!({"location": "eastus", "sku_tier": "Standard",
                   "default_node_pool": [{"vm_size": "Standard_D2s_v3", "node_count": 2}]}),
            "252.58",
        ),
        beside(
            "azurerm_kubernetes_cluster_node_pool",
            json!({"kubernetes_cluster_id": "/c", "vm_size": "Standard_D2s_v5", "node_count": 1, "os_disk_type": "Ephemeral"}),
            vec![create(
                "azurerm_kubernetes_cluster.c",
                &json!({"id": "/c", "location": "koreacentral", "sku_tier": "Free"}),
            )],
            "86.14",
        ),
        // 2 × 0.152215 × 730 + 2 × 0.099966 × 730 + 32 × 0.115
        beside(
            "azurerm_mssql_database",
            json!({"server_id": "/s", "sku_name": "GP_Gen5_2"}),
            vec![create("azurerm_mssql_server.s", &json!({"id": "/s", "location": "eastus"}))],
            "371.86426",
        ),
        case("azurerm_mssql_database", json!({"location": "eastus", "sku_name": "S1"}), "29.419"),
        // Twice: 2 × 0.089 × 730 + 32 × 0.115
        case(
            "azurerm_postgresql_flexible_server",
            json!({"location": "eastus", "sku_name": "GP_Standard_D2s_v3", "storage_mb": 32768,
                   "high_availability": [{"mode": "ZoneRedundant"}]}),
            "267.24",
        ),
        case(
            "azurerm_public_ip",
            json!({"location": "westeurope", "allocation_method": "Static", "sku": "Standard"}),
            "3.65",
        ),
        used(
            "azurerm_storage_account",
            json!({"location": "eastus"}),
            json!({"storage_gb": 100, "monthly_write_requests": 10000, "monthly_read_requests": 10000}),
            "2.134",
        ),
    ]
}

fn ncp() -> Vec<Case> {
    vec![
        won("ncloud_server", json!({"server_spec_code": "s2-g2-s50"}), "74460"),
        won(
            "ncloud_server",
            json!({"server_product_code": "SVR.VSVR.HIMEM.C004.M032.NET.SSD.B050.G002", "zone": "KR-1"}),
            "188340",
        ),
        won("ncloud_block_storage", json!({"size": "100", "disk_detail_type": "SSD"}), "11680"),
        won("ncloud_lb", json!({"type": "APPLICATION", "throughput_type": "SMALL"}), "36500"),
        won("ncloud_nat_gateway", json!({}), "43070"),
        won("ncloud_nks_cluster", json!({}), "67890"),
        won(
            "ncloud_nks_node_pool",
            json!({"node_count": 2, "product_code": "SVR.VSVR.STAND.C002.M008.NET.SSD.B050.G002"}),
            "148920",
        ),
        won("ncloud_public_ip", json!({}), "4088"),
    ]
}

#[test]
fn every_type_costs_what_was_reckoned_by_hand() {
    let mut seen = BTreeSet::new();
    for Case { kind, after, beside, usage, month, currency } in
        [aws(), gcp(), azure(), ncp()].into_iter().flatten()
    {
        seen.insert(kind);
        let address = format!("{kind}.x");
        let mut changes = vec![create(&address, &after)];
        changes.extend(beside);
        let settings = settings(json!({
            "currency": currency, "usage": {"resources": {address.as_str(): usage}},
        }));
        let report = try_estimate(&plan_of(&changes, &[]), &settings).unwrap();
        let gaps: Vec<_> = report.unpriced.iter().filter(|g| g.address == address).collect();
        assert!(gaps.is_empty(), "{kind} {after}: {gaps:?}");
        let found = report.resources.iter().find(|r| r.address == address).unwrap();
        assert_eq!(found.monthly_after, amount(month), "{kind} {after}: {:#?}", found.components);
        assert_eq!(found.monthly_before, Amount::ZERO);
        let misspelt: Vec<_> = report.warnings.iter().filter(|w| w.contains("usage doc")).collect();
        assert!(misspelt.is_empty(), "{misspelt:?}");
        for component in &found.components {
            assert!(component.source.starts_with("https://"), "{component:?}");
            assert!(component.as_of.is_some());
        }
    }
    let all: BTreeSet<_> = crate::priced_types().map(|t| t.name).collect();
    assert_eq!(seen, all, "every type has its case");
}

#[test]
fn the_shipped_book_is_right_in_form() {
    let book = Book::shipped().unwrap();
    assert!(book.len() > 1000, "{}", book.len());
    for row in book.rows() {
        assert!(row.price > Amount::ZERO, "{row:?}");
        assert_eq!(row.currency, row.provider.currency(), "{row:?}");
        assert!(row.as_of < today(), "{row:?}");
        assert!(row.source.starts_with("https://"), "{row:?}");
    }
    // What the regions are that the docs name.
    for (provider, key, regions) in [
        (
            crate::Provider::Aws,
            "ec2/linux/m5.large",
            vec![
                "us-east-1",
                "us-west-2",
                "eu-west-1",
                "eu-central-1",
                "ap-northeast-2",
                "ap-northeast-1",
            ],
        ),
        (
            crate::Provider::Gcp,
            "compute/e2/core",
            vec!["us-central1", "europe-west1", "asia-northeast3"],
        ),
        (
            crate::Provider::Azure,
            "vm/linux/Standard_B2s",
            vec!["eastus", "westeurope", "koreacentral"],
        ),
        (crate::Provider::Ncp, "public-ip/hour", vec!["KR"]),
    ] {
        for region in regions {
            assert!(book.row(provider, key, region).is_some(), "{key} {region}");
        }
    }
}
