output "id" {
  description = "The account's id."
  value       = azurerm_storage_account.this.id
}

output "blob_endpoint" {
  description = "The address of its blobs."
  value       = azurerm_storage_account.this.primary_blob_endpoint
}
