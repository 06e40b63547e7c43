variable "name" {
  description = "The server's name; everything around it is named the same."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,28}[a-z0-9]$", var.name))
    error_message = "The name has 3 to 30 lower-case letters, digits and dashes, starts with a letter and does not end with a dash."
  }
}

variable "login_key_name" {
  description = "An existing login key. One made here would leave its private half in the state."
  type        = string
  nullable    = false
}

variable "region" {
  description = "The region's code."
  type        = string
  default     = "KR"
  nullable    = false
}

variable "zone" {
  description = "The zone's code."
  type        = string
  default     = "KR-1"
  nullable    = false
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

variable "vpc_cidr" {
  description = "The VPC's addresses, a private /16."
  type        = string
  default     = "10.20.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrsubnet(var.vpc_cidr, 8, 1)) && endswith(var.vpc_cidr, "/16")
    error_message = "vpc_cidr must be a /16 block, e.g. 10.20.0.0/16."
  }
}

variable "image" {
  description = "The server image's name."
  type        = string
  default     = "rocky-8.10-base"
  nullable    = false
}

variable "spec" {
  description = "The server's size, e.g. c2-g3 (2 vCPU, 4 GB)."
  type        = string
  default     = "c2-g3"
  nullable    = false
}

variable "ssh_from" {
  description = "Address blocks that may connect by SSH. None by default."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for block in var.ssh_from : can(cidrhost(block, 0)) && !endswith(block, "/0")])
    error_message = "ssh_from holds CIDR blocks; the whole Internet is not one to name here."
  }
}

variable "public" {
  description = "Whether the server gets a public address."
  type        = bool
  default     = false
  nullable    = false
}

variable "protect" {
  description = "Whether the server is protected against termination. Turn it off before destroying the stack."
  type        = bool
  default     = true
  nullable    = false
}
