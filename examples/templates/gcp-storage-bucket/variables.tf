variable "project" {
  description = "The Google Cloud project's id."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project's id has 6 to 30 lower-case letters, digits and dashes, starts with a letter and does not end with a dash."
  }
}

variable "bucket" {
  description = "The bucket's name, unique in all of Cloud Storage."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "A bucket's name has 3 to 63 lower-case letters, digits, dashes and underscores, with a letter or digit at both ends."
  }
}

variable "location" {
  description = "A region or a multi-region, e.g. ASIA-NORTHEAST3."
  type        = string
  nullable    = false
}

variable "storage_class" {
  description = "STANDARD, NEARLINE, COLDLINE or ARCHIVE."
  type        = string
  default     = "STANDARD"
  nullable    = false

  validation {
    condition     = contains(["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"], var.storage_class)
    error_message = "storage_class must be STANDARD, NEARLINE, COLDLINE or ARCHIVE."
  }
}

variable "kms_key_name" {
  description = "A Cloud KMS key of your own to encrypt with; null for Google's own keys."
  type        = string
  default     = null
}

variable "noncurrent_days" {
  description = "Days for which an overwritten object's old version is kept."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.noncurrent_days >= 1 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "noncurrent_days must be a whole number of at least 1."
  }
}

variable "soft_delete_days" {
  description = "Days for which a deleted object can be restored."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.soft_delete_days >= 7 && var.soft_delete_days <= 90
    error_message = "soft_delete_days must be from 7 to 90."
  }
}

variable "force_destroy" {
  description = "Whether destroying the stack may delete a bucket that still holds objects."
  type        = bool
  default     = false
  nullable    = false
}

variable "labels" {
  description = "Labels of the bucket."
  type        = map(string)
  default     = {}
  nullable    = false
}
