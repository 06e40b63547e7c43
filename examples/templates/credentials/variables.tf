variable "services" {
  description = "The services that get credentials."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for name in var.services : can(regex("^[a-z][a-z0-9-]{0,30}$", name))])
    error_message = "A service's name starts with a letter and has up to 31 lower-case letters, digits and dashes."
  }
}

variable "password_length" {
  description = "Characters in each password."
  type        = number
  default     = 32
  nullable    = false

  validation {
    condition     = var.password_length >= 16 && var.password_length <= 128
    error_message = "password_length must be from 16 to 128."
  }
}

variable "rotation" {
  description = "Change it to replace every user name and password."
  type        = string
  default     = "1"
  nullable    = false
}
