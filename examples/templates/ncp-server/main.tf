terraform {
  required_version = ">= 1.3"

  required_providers {
    ncloud = {
      source  = "NaverCloudPlatform/ncloud"
      version = ">= 3.1"
    }
  }
}

# The keys come from the worker: NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY.
provider "ncloud" {
  region      = var.region
  site        = var.site
  support_vpc = true
}

data "ncloud_server_image_numbers" "image" {
  server_image_name = var.image

  filter {
    name   = "hypervisor_type"
    values = ["KVM"]
  }
}

resource "ncloud_vpc" "this" {
  name            = var.name
  ipv4_cidr_block = var.vpc_cidr
}

resource "ncloud_subnet" "this" {
  name           = var.name
  vpc_no         = ncloud_vpc.this.id
  subnet         = cidrsubnet(var.vpc_cidr, 8, 1)
  zone           = var.zone
  network_acl_no = ncloud_vpc.this.default_network_acl_no
  subnet_type    = var.public ? "PUBLIC" : "PRIVATE"
  usage_type     = "GEN"
}

resource "ncloud_access_control_group" "this" {
  name        = var.name
  description = "Who may reach ${var.name}"
  vpc_no      = ncloud_vpc.this.id
}

resource "ncloud_access_control_group_rule" "this" {
  access_control_group_no = ncloud_access_control_group.this.id

  # Nothing comes in until it is asked for.
  dynamic "inbound" {
    for_each = var.ssh_from

    content {
      protocol    = "TCP"
      ip_block    = inbound.value
      port_range  = "22"
      description = "ssh"
    }
  }

  outbound {
    protocol    = "TCP"
    ip_block    = "0.0.0.0/0"
    port_range  = "1-65535"
    description = "everything out"
  }

  outbound {
    protocol    = "UDP"
    ip_block    = "0.0.0.0/0"
    port_range  = "1-65535"
    description = "everything out"
  }
}

resource "ncloud_network_interface" "this" {
  name                  = var.name
  subnet_no             = ncloud_subnet.this.id
  access_control_groups = [ncloud_access_control_group.this.id]
}

resource "ncloud_server" "this" {
  name                = var.name
  subnet_no           = ncloud_subnet.this.id
  server_image_number = data.ncloud_server_image_numbers.image.image_number_list[0].server_image_number
  server_spec_code    = var.spec
  login_key_name      = var.login_key_name

  is_protect_server_termination = var.protect

  network_interface {
    network_interface_no = ncloud_network_interface.this.id
    order                = 0
  }

  # A newer image must not replace a running server.
  lifecycle {
    ignore_changes = [server_image_number]
  }

  # A server that starts before its rules are in place would start with its doors undecided.
  depends_on = [ncloud_access_control_group_rule.this]
}

resource "ncloud_public_ip" "this" {
  count = var.public ? 1 : 0

  server_instance_no = ncloud_server.this.id
}
