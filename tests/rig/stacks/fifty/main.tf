# Fifty resources over two providers: 25 names, and 25 resources that each depend on one of them.
terraform {
  required_providers {
    null = {
      source  = "hashicorp/null"
      version = ">= 2.0"
    }
    random = {
      source  = "hashicorp/random"
      version = ">= 2.0"
    }
  }
}

variable "generation" {
  description = "Change it to replace all fifty."
  type        = string
  default     = "1"
}

locals {
  keys = toset([for i in range(25) : format("%02d", i + 1)])
}

resource "random_pet" "pet" {
  for_each = local.keys

  keepers = {
    generation = var.generation
  }
}

resource "null_resource" "user" {
  for_each = local.keys

  triggers = {
    pet = random_pet.pet[each.key].id
  }
}

output "names" {
  value = { for key, pet in random_pet.pet : key => pet.id }
}
