output "server_no" {
  description = "The server's instance number."
  value       = ncloud_server.this.id
}

output "private_ip" {
  description = "Its address inside the VPC."
  value       = ncloud_network_interface.this.private_ip
}

output "public_ip" {
  description = "Its public address; null when it has none."
  value       = one(ncloud_public_ip.this[*].public_ip)
}
