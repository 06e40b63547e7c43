//! Prices of Amazon Web Services.

mod compute;
mod database;
mod network;
mod platform;
mod storage;

use crate::types::Entry;

/// The types that are priced.
pub(crate) const TYPES: &[Entry] = &[
    (
        "aws_autoscaling_group",
        "instances and volumes of its launch template × desired capacity",
        compute::autoscaling_group,
    ),
    ("aws_cloudwatch_log_group", "ingestion and storage, by use", platform::log_group),
    ("aws_cloudwatch_metric_alarm", "standard and high resolution alarms", platform::metric_alarm),
    (
        "aws_db_instance",
        "instance (MySQL, PostgreSQL, MariaDB; single and multi-AZ), storage, IOPS; backups by use",
        database::db_instance,
    ),
    (
        "aws_dynamodb_table",
        "provisioned capacity of table and indexes; requests and storage by use",
        database::dynamodb_table,
    ),
    ("aws_ebs_snapshot", "stored data, by use", storage::ebs_snapshot),
    ("aws_ebs_snapshot_copy", "stored data, by use", storage::ebs_snapshot),
    (
        "aws_ebs_volume",
        "gp2, gp3 with IOPS and throughput above the free part, io1, io2, st1, sc1, standard",
        storage::ebs_volume,
    ),
    ("aws_ecr_repository", "storage, by use", platform::ecr_repository),
    (
        "aws_ecs_service",
        "Fargate: vCPU, memory and disk of its task definition × desired count",
        compute::ecs_service,
    ),
    ("aws_efs_file_system", "storage by use, provisioned throughput", storage::efs),
    ("aws_eip", "public IPv4 address", network::eip),
    ("aws_eks_cluster", "control plane in standard support", compute::eks_cluster),
    ("aws_eks_node_group", "instances × desired size, and their disks", compute::eks_node_group),
    ("aws_elasticache_cluster", "nodes (Redis, Memcached)", database::elasticache_cluster),
    (
        "aws_elasticache_replication_group",
        "nodes of all shards and replicas",
        database::elasticache_group,
    ),
    ("aws_elb", "classic load balancer; data by use", network::elb),
    ("aws_instance", "instance (Linux, on demand), its volumes", compute::instance),
    ("aws_kms_key", "key; requests by use", platform::kms_key),
    ("aws_kms_replica_key", "key; requests by use", platform::kms_key),
    ("aws_lambda_function", "requests and duration, by use", compute::lambda),
    ("aws_lb", "application, network, gateway load balancer; capacity units by use", network::lb),
    ("aws_alb", "as aws_lb", network::lb),
    ("aws_mq_broker", "brokers of the deployment mode; storage by use", platform::mq_broker),
    ("aws_msk_cluster", "brokers and their storage", platform::msk_cluster),
    ("aws_nat_gateway", "gateway; data by use", network::nat_gateway),
    ("aws_opensearch_domain", "data and master nodes, storage", database::opensearch_domain),
    ("aws_rds_cluster", "Aurora: storage and I/O, by use", database::rds_cluster),
    (
        "aws_rds_cluster_instance",
        "Aurora: instance, or capacity units of serverless v2",
        database::rds_cluster_instance,
    ),
    ("aws_redshift_cluster", "nodes; managed storage by use", database::redshift_cluster),
    ("aws_route53_zone", "zone; queries by use", network::route53_zone),
    ("aws_s3_bucket", "storage and requests (Standard), by use", storage::s3_bucket),
    ("aws_secretsmanager_secret", "secret; requests by use", platform::secret),
    ("aws_vpc_endpoint", "interface endpoints × subnets; data by use", network::vpc_endpoint),
];
