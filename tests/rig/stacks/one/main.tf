# The smallest stack that needs a provider: one resource.
terraform {
  required_providers {
    random = {
      source  = "hashicorp/random"
      version = ">= 2.0"
    }
  }
}

variable "generation" {
  description = "Change it to replace the resource."
  type        = string
  default     = "1"
}

resource "random_pet" "pet" {
  keepers = {
    generation = var.generation
  }
}

output "name" {
  value = random_pet.pet.id
}
