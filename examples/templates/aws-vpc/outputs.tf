output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "The private subnets, by zone."
  value       = { for zone, subnet in aws_subnet.private : zone => subnet.id }
}

output "public_subnet_ids" {
  description = "The public subnets, by zone; empty when there are none."
  value       = { for zone, subnet in aws_subnet.public : zone => subnet.id }
}
