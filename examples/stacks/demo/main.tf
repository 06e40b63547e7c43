# The sample that `slipway demo` submits. It uses nothing but Terraform's built-in provider, so it
# runs on a fresh machine without a network, and it changes nothing outside its own state.
terraform {
  required_version = ">= 1.4"
}

locals {
  network   = "${var.name}-${var.environment}"
  subnets   = [for i in range(2) : cidrsubnet(var.cidr, 8, i)]
  db_server = cidrhost(local.subnets[1], 10)
}

resource "terraform_data" "network" {
  input = {
    name    = local.network
    cidr    = var.cidr
    subnets = local.subnets
  }
}

resource "terraform_data" "database" {
  input = {
    name       = "${var.name}-db"
    address    = local.db_server
    network_id = terraform_data.network.id
    url        = "postgres://${var.name}:${var.database_password}@${local.db_server}/${var.name}"
  }
}

# Changing the password replaces this one: whatever runs must start again to see it.
resource "terraform_data" "rollout" {
  input = {
    version     = var.app_version
    database_id = terraform_data.database.id
  }
  triggers_replace = [sha256(var.database_password)]
}

module "service" {
  source   = "./modules/service"
  for_each = var.services

  name        = each.key
  port        = each.value.port
  copies      = each.value.copies
  subnet      = local.subnets[0]
  app_version = var.app_version
  rollout_id  = terraform_data.rollout.id
}

resource "terraform_data" "router" {
  input = {
    host   = "${var.name}.${var.environment}.internal"
    routes = { for name, service in module.service : "/${name}" => service.addresses }
  }
}
