variable "name" {
  description = "The cluster's name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "The name has 3 to 20 lower-case letters, digits and dashes, starts with a letter and does not end with a dash."
  }
}

variable "login_key_name" {
  description = "An existing login key. One made here would leave its private half in the state."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.login_key_name) >= 3 && length(var.login_key_name) <= 30
    error_message = "login_key_name has 3 to 30 characters."
  }
}

variable "region" {
  description = "The region's code."
  type        = string
  default     = "KR"
  nullable    = false

  validation {
    condition     = contains(["KR", "SGN", "JPN"], var.region)
    error_message = "region must be KR, SGN or JPN."
  }
}

variable "zone" {
  description = "The zone's code."
  type        = string
  default     = "KR-1"
  nullable    = false

  validation {
    condition     = can(regex("^(KR|SGN|JPN)-[0-9]$", var.zone))
    error_message = "zone must be a zone's code, e.g. KR-1."
  }
}

variable "site" {
  description = "public, gov or fin."
  type        = string
  default     = "public"
  nullable    = false

  validation {
    condition     = contains(["public", "gov", "fin"], var.site)
    error_message = "site must be public, gov or fin."
  }
}

variable "vpc_no" {
  description = "The VPC's number."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]+$", var.vpc_no))
    error_message = "vpc_no must be a number."
  }
}

variable "subnet_nos" {
  description = "Numbers of private subnets for the nodes."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_nos) >= 1 && length(var.subnet_nos) <= 5 && alltrue([for no in var.subnet_nos : can(regex("^[0-9]+$", no))])
    error_message = "subnet_nos holds 1 to 5 numbers of subnets."
  }
}

variable "lb_subnet_no" {
  description = "Number of the private subnet for load balancers."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]+$", var.lb_subnet_no))
    error_message = "lb_subnet_no must be a number."
  }
}

variable "cluster_type" {
  description = "The cluster's size: how many nodes it may have."
  type        = string
  default     = "SVR.VNKS.STAND.C002.M008.G003"
  nullable    = false

  validation {
    condition     = startswith(var.cluster_type, "SVR.VNKS.STAND.")
    error_message = "cluster_type begins with SVR.VNKS.STAND."
  }
}

variable "k8s_version" {
  description = "The version of Kubernetes, as NKS writes it, e.g. 1.30.8-nks.1."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^1\\.[0-9]{2}\\.[0-9]{1,2}(-nks\\.[0-9]+)?$", var.k8s_version))
    error_message = "k8s_version must be written as NKS does, e.g. 1.30.8-nks.1."
  }
}

variable "node_spec" {
  description = "The size of a node, e.g. s2-g3a (2 vCPU, 8 GB)."
  type        = string
  default     = "s2-g3a"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+[0-9]+-g[0-9][a-z]?$", var.node_spec))
    error_message = "node_spec must be a server spec's code, e.g. s2-g3a."
  }
}

variable "node_storage_gb" {
  description = "Storage of a node, in GB."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.node_storage_gb >= 100 && var.node_storage_gb <= 2000 && var.node_storage_gb % 10 == 0
    error_message = "node_storage_gb must be from 100 to 2000, in steps of 10."
  }
}

variable "min_nodes" {
  description = "Nodes at least."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.min_nodes >= 1 && var.min_nodes <= 50 && floor(var.min_nodes) == var.min_nodes
    error_message = "min_nodes must be a whole number from 1 to 50."
  }
}

variable "max_nodes" {
  description = "Nodes at most."
  type        = number
  default     = 4
  nullable    = false

  validation {
    condition     = var.max_nodes >= 1 && var.max_nodes <= 50 && floor(var.max_nodes) == var.max_nodes
    error_message = "max_nodes must be a whole number from 1 to 50."
  }
}
