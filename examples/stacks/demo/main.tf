# The sample that `slipway demo` submits. It uses nothing but Terraform's built-in provider, so it
# runs on a fresh machine without a network, and it changes nothing outside its own state.
terraform {
  required_version = ">= 1.4"
}

resource "terraform_data" "network" {
  input = {
    name    = "${var.name}-${var.environment}"
    cidr    = var.cidr
    subnets = [for i in range(2) : cidrsubnet(var.cidr, 8, i)]
  }
}

resource "terraform_data" "database" {
  input = {
    name    = "${var.name}-db"
    network = terraform_data.network.output.name
    address = cidrhost(terraform_data.network.output.subnets[1], 10)
    url     = "postgres://${var.name}:${var.database_password}@${cidrhost(var.cidr, 266)}/${var.name}"
  }
}

# Changing the password replaces this one: whatever runs must start again to see it.
resource "terraform_data" "rollout" {
  input            = { version = var.app_version, database = terraform_data.database.id }
  triggers_replace = [sha256(var.database_password)]
}

module "service" {
  source   = "./modules/service"
  for_each = var.services

  name        = each.key
  port        = each.value.port
  copies      = each.value.copies
  subnet      = terraform_data.network.output.subnets[0]
  app_version = terraform_data.rollout.output.version
}

resource "terraform_data" "router" {
  input = {
    host   = "${var.name}.${var.environment}.internal"
    routes = { for name, service in module.service : "/${name}" => service.addresses }
  }
}
