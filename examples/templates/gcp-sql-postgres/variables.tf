variable "project" {
  description = "The Google Cloud project's id."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project's id has 6 to 30 lower-case letters, digits and dashes, starts with a letter and does not end with a dash."
  }
}

variable "region" {
  description = "The region, e.g. asia-northeast3."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region's name, e.g. asia-northeast3."
  }
}

variable "name" {
  description = "The instance's name. One that was deleted is free again after a week."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,78}[a-z0-9]$", var.name))
    error_message = "The name has 3 to 80 lower-case letters, digits and dashes, starts with a letter and does not end with a dash."
  }
}

variable "network" {
  description = "The VPC network: projects/…/global/networks/…"
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^projects/[a-z0-9-]+/global/networks/[a-z0-9-]+$", var.network))
    error_message = "network must be written projects/PROJECT/global/networks/NAME."
  }
}

variable "database" {
  description = "The first database in it."
  type        = string
  default     = "app"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database))
    error_message = "database has up to 63 lower-case letters, digits and underscores, and starts with a letter."
  }
}

variable "database_version" {
  description = "POSTGRES_14 to POSTGRES_17."
  type        = string
  default     = "POSTGRES_16"
  nullable    = false

  validation {
    condition     = contains(["POSTGRES_14", "POSTGRES_15", "POSTGRES_16", "POSTGRES_17"], var.database_version)
    error_message = "database_version must be POSTGRES_14, POSTGRES_15, POSTGRES_16 or POSTGRES_17."
  }
}

variable "tier" {
  description = "The size, e.g. db-custom-2-7680 (2 vCPU, 7.5 GB)."
  type        = string
  default     = "db-custom-2-7680"
  nullable    = false

  validation {
    condition     = startswith(var.tier, "db-")
    error_message = "tier begins with db-, e.g. db-custom-2-7680."
  }
}

variable "storage_gb" {
  description = "Storage to begin with, in GB. It grows by itself."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.storage_gb >= 10 && var.storage_gb <= 65536 && floor(var.storage_gb) == var.storage_gb
    error_message = "storage_gb must be a whole number from 10 to 65536."
  }
}

variable "highly_available" {
  description = "Whether a standby waits in another zone."
  type        = bool
  default     = true
  nullable    = false
}

variable "backups" {
  description = "How many daily backups are kept."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = var.backups >= 7 && var.backups <= 365 && floor(var.backups) == var.backups
    error_message = "backups must be a whole number from 7 to 365."
  }
}

variable "protect" {
  description = "Whether it is protected against deletion. Turn it off before destroying the stack."
  type        = bool
  default     = true
  nullable    = false
}

variable "labels" {
  description = "Labels of the instance."
  type        = map(string)
  default     = {}
  nullable    = false
}
