output "cluster_uuid" {
  description = "The cluster's id, for `ncp-iam-authenticator`."
  value       = ncloud_nks_cluster.this.uuid
}

output "endpoint" {
  description = "The address of the control plane."
  value       = ncloud_nks_cluster.this.endpoint
}
