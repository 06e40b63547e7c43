output "address" {
  description = "The host name."
  value       = aws_db_instance.this.address
}

output "port" {
  description = "The port."
  value       = aws_db_instance.this.port
}

output "secret_arn" {
  description = "The secret in AWS Secrets Manager with the owner's password."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "security_group_id" {
  description = "The security group, for more rules."
  value       = aws_security_group.this.id
}
