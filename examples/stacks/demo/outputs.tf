output "url" {
  description = "Where the application would answer."
  value       = "https://${terraform_data.router.input.host}/"
}

output "routes" {
  description = "Which addresses serve which path."
  value       = terraform_data.router.input.routes
}

output "app_version" {
  description = "The version that runs."
  value       = terraform_data.rollout.input.version
}

output "database_url" {
  description = "How the services reach the database."
  value       = terraform_data.database.input.url
  sensitive   = true
}
