output "bucket" {
  description = "The bucket's name."
  value       = google_storage_bucket.this.name
}

output "url" {
  description = "The bucket's gs:// address."
  value       = google_storage_bucket.this.url
}
