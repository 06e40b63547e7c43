variable "subscription_id" {
  description = "The subscription's id."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$", var.subscription_id))
    error_message = "subscription_id must be a UUID in lower case."
  }
}

variable "resource_group" {
  description = "An existing resource group."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.resource_group) >= 1 && length(var.resource_group) <= 90
    error_message = "resource_group has 1 to 90 characters."
  }
}

variable "location" {
  description = "The region, e.g. koreacentral."
  type        = string
  default     = "koreacentral"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "location must be a region's short name, e.g. koreacentral."
  }
}

variable "name" {
  description = "The account's name, unique in all of Azure."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]{3,24}$", var.name))
    error_message = "An account's name has 3 to 24 lower-case letters and digits."
  }
}

variable "replication" {
  description = "LRS, ZRS, GRS, GZRS, RAGRS or RAGZRS."
  type        = string
  default     = "ZRS"
  nullable    = false

  validation {
    condition     = contains(["LRS", "ZRS", "GRS", "GZRS", "RAGRS", "RAGZRS"], var.replication)
    error_message = "replication must be LRS, ZRS, GRS, GZRS, RAGRS or RAGZRS."
  }
}

variable "containers" {
  description = "Private containers to make in it."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.containers : can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", name))])
    error_message = "A container's name has 3 to 63 lower-case letters, digits and dashes, with no dash at either end."
  }
}

variable "allowed_ips" {
  description = "Public addresses or blocks that may connect. None by default."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for ip in var.allowed_ips : can(regex("^[0-9]{1,3}(\\.[0-9]{1,3}){3}(/(1[6-9]|2[0-9]|30))?$", ip))])
    error_message = "allowed_ips holds IPv4 addresses, or blocks from /16 to /30."
  }
}

variable "allowed_subnet_ids" {
  description = "Subnets that may connect over their service endpoint."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.allowed_subnet_ids : startswith(id, "/subscriptions/")])
    error_message = "allowed_subnet_ids holds ids of subnets, which begin with /subscriptions/."
  }
}

variable "keep_days" {
  description = "Days for which a deleted blob or container can be brought back."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.keep_days >= 7 && var.keep_days <= 365 && floor(var.keep_days) == var.keep_days
    error_message = "keep_days must be a whole number from 7 to 365."
  }
}

variable "tags" {
  description = "Tags of the account."
  type        = map(string)
  default     = {}
  nullable    = false
}
