terraform {
  required_version = ">= 1.1"

  required_providers {
    random = {
      source  = "hashicorp/random"
      version = ">= 2.2"
    }
  }
}

resource "random_id" "user" {
  for_each = var.services

  byte_length = 4
  prefix      = "${each.value}-"

  keepers = {
    rotation = var.rotation
  }
}

resource "random_password" "password" {
  for_each = var.services

  length           = var.password_length
  special          = true
  override_special = "-_.~"
  min_lower        = 2
  min_upper        = 2
  min_numeric      = 2

  keepers = {
    rotation = var.rotation
  }
}
