variable "name" {
  description = "The VPC's name; everything in it is named after it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name))
    error_message = "The name has 3 to 40 lower-case letters, digits and dashes, starts with a letter and does not end with a dash."
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

variable "zones" {
  description = "The availability zones, by letter: a private subnet is made in each."
  type        = list(string)
  default     = ["a", "c"]
  nullable    = false

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 6 && alltrue([for zone in var.zones : can(regex("^[a-f]$", zone))])
    error_message = "zones holds 2 to 6 letters from a to f, e.g. [\"a\", \"c\"]."
  }

  validation {
    condition     = length(distinct(var.zones)) == length(var.zones)
    error_message = "zones must not name one zone twice."
  }
}

variable "cidr" {
  description = "The VPC's addresses, a private /16."
  type        = string
  default     = "10.30.0.0/16"
  nullable    = false

  validation {
    condition     = can(regex("^(10\\.[0-9]{1,3}|172\\.(1[6-9]|2[0-9]|3[01])|192\\.168)\\.0\\.0/16$", var.cidr)) && can(cidrhost(var.cidr, 0))
    error_message = "cidr must be a private /16 block, e.g. 10.30.0.0/16."
  }
}

variable "public" {
  description = "Whether there are public subnets, and a NAT gateway through which the private ones reach the Internet."
  type        = bool
  default     = false
  nullable    = false
}

variable "flow_log_days" {
  description = "Days for which flow logs are kept."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.flow_log_days)
    error_message = "flow_log_days must be a number of days that CloudWatch Logs knows, e.g. 30, 90 or 365."
  }
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
  nullable    = false
}
