variable "name" {
  description = "The database's identifier."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,58}[a-z0-9]$", var.name)) && length(regexall("--", var.name)) == 0
    error_message = "The name has 3 to 60 lower-case letters, digits and single dashes, starts with a letter and does not end with a dash."
  }
}

variable "region" {
  description = "The AWS region, e.g. ap-northeast-2."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's code, e.g. ap-northeast-2."
  }
}

variable "vpc_id" {
  description = "The VPC that it is in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^vpc-[0-9a-f]{8,17}$", var.vpc_id))
    error_message = "vpc_id must be the id of a VPC, e.g. vpc-0a1b2c3d4e5f60718."
  }
}

variable "subnet_ids" {
  description = "Private subnets, in at least two availability zones."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) >= 2 && alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]{8,17}$", id))])
    error_message = "subnet_ids holds the ids of at least two subnets, e.g. subnet-0a1b2c3d4e5f60718."
  }
}

variable "allowed_cidrs" {
  description = "Address blocks that may connect."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for block in var.allowed_cidrs : can(cidrhost(block, 0)) && !endswith(block, "/0")])
    error_message = "allowed_cidrs holds CIDR blocks; the whole Internet is not one to name here."
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

variable "engine_version" {
  description = "The version of PostgreSQL; with the major number only, AWS chooses the minor one."
  type        = string
  default     = "16"
  nullable    = false

  validation {
    condition     = can(regex("^1[4-9](\\.[0-9]{1,2})?$", var.engine_version))
    error_message = "engine_version must be a version from 14 on, e.g. 16 or 16.4."
  }
}

variable "instance_class" {
  description = "The size, e.g. db.t4g.medium."
  type        = string
  default     = "db.t4g.medium"
  nullable    = false

  validation {
    condition     = startswith(var.instance_class, "db.")
    error_message = "instance_class begins with db., e.g. db.t4g.medium."
  }
}

variable "storage_gb" {
  description = "Storage to begin with, in GB. It grows by itself up to four times as much."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.storage_gb >= 20 && var.storage_gb <= 16384 && floor(var.storage_gb) == var.storage_gb
    error_message = "storage_gb must be a whole number from 20 to 16384."
  }
}

variable "multi_az" {
  description = "Whether a standby waits in another availability zone."
  type        = bool
  default     = true
  nullable    = false
}

variable "backup_days" {
  description = "Days for which backups are kept."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = var.backup_days >= 7 && var.backup_days <= 35 && floor(var.backup_days) == var.backup_days
    error_message = "backup_days must be a whole number from 7 to 35."
  }
}

variable "protect" {
  description = "Whether it is protected against deletion. Turn it off before destroying the stack."
  type        = bool
  default     = true
  nullable    = false
}

variable "kms_key_arn" {
  description = "A KMS key of your own to encrypt with; null for the account's RDS key."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key (not of an alias), or null."
  }
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
  nullable    = false
}
