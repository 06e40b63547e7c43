output "connection_name" {
  description = "What the Cloud SQL connectors take."
  value       = google_sql_database_instance.this.connection_name
}

output "private_ip_address" {
  description = "The private address."
  value       = google_sql_database_instance.this.private_ip_address
}

output "database" {
  description = "The database in it."
  value       = google_sql_database.this.name
}
