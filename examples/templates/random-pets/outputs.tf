output "names" {
  description = "The names, by number."
  value       = { for key, pet in random_pet.pet : key => pet.id }
}
