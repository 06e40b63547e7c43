terraform {
  required_version = ">= 1.3"

  required_providers {
    ncloud = {
      source  = "NaverCloudPlatform/ncloud"
      version = ">= 3.2"
    }
  }
}

# The keys come from the worker: NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY.
provider "ncloud" {
  region      = var.region
  site        = var.site
  support_vpc = true
}

resource "ncloud_nks_cluster" "this" {
  name                 = var.name
  hypervisor_code      = "KVM"
  cluster_type         = var.cluster_type
  k8s_version          = var.k8s_version
  login_key_name       = var.login_key_name
  kube_network_plugin  = "cilium"
  vpc_no               = var.vpc_no
  zone                 = var.zone
  subnet_no_list       = var.subnet_nos
  lb_private_subnet_no = var.lb_subnet_no

  # The nodes have no way in from the Internet.
  public_network = false

  log {
    audit = true
  }
}

resource "ncloud_nks_node_pool" "this" {
  cluster_uuid     = ncloud_nks_cluster.this.uuid
  node_pool_name   = "main"
  node_count       = var.min_nodes
  server_spec_code = var.node_spec
  storage_size     = var.node_storage_gb
  subnet_no_list   = var.subnet_nos

  autoscale {
    enabled = true
    min     = var.min_nodes
    max     = max(var.min_nodes, var.max_nodes)
  }

  lifecycle {
    # The autoscaler says how many there are now.
    ignore_changes = [node_count]
  }
}
