output "url" {
  description = "Where the application would answer."
  value       = "https://${terraform_data.router.output.host}/"
}

output "routes" {
  description = "Which addresses serve which path."
  value       = terraform_data.router.output.routes
}

output "app_version" {
  description = "The version that runs."
  value       = terraform_data.rollout.output.version
}

output "database_url" {
  description = "How the services reach the database."
  value       = terraform_data.database.output.url
  sensitive   = true
}
