output "users" {
  description = "The user name of each service."
  value       = { for service, user in random_id.user : service => user.hex }
}

output "passwords" {
  description = "The password of each service."
  value       = { for service, password in random_password.password : service => password.result }
  sensitive   = true
}
