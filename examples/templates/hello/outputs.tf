output "greetings" {
  description = "Every greeting, in order."
  value       = terraform_data.greeting[*].output.text
}

output "tags" {
  description = "The labels, as they were given."
  value       = var.tags
}
