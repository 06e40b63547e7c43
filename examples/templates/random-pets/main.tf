# Works with every release of these providers since 2.0, so that an old mirror will do.
terraform {
  required_version = ">= 1.1"

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

# Keyed by number, not counted: lowering `pets` removes the last ones and leaves the rest alone.
locals {
  keys = toset([for i in range(var.pets) : format("%03d", i + 1)])
}

resource "random_pet" "pet" {
  for_each = local.keys

  prefix = var.prefix
  length = var.words

  # Another generation gives every pet another name.
  keepers = {
    generation = var.generation
  }
}

resource "null_resource" "tag" {
  for_each = local.keys

  triggers = {
    pet = random_pet.pet[each.key].id
  }
}
