output "bucket" {
  description = "The bucket's name."
  value       = aws_s3_bucket.this.id
}

output "arn" {
  description = "The bucket's ARN, for policies."
  value       = aws_s3_bucket.this.arn
}

output "domain_name" {
  description = "The regional host name of the bucket."
  value       = aws_s3_bucket.this.bucket_regional_domain_name
}
