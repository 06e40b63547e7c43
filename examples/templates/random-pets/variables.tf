variable "pets" {
  description = "How many pets to name."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.pets >= 0 && var.pets <= 200 && floor(var.pets) == var.pets
    error_message = "pets must be a whole number from 0 to 200."
  }
}

variable "words" {
  description = "Words in a name."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.words >= 1 && var.words <= 5 && floor(var.words) == var.words
    error_message = "words must be a whole number from 1 to 5."
  }
}

variable "prefix" {
  description = "Put before each name; null for none."
  type        = string
  default     = null
}

variable "generation" {
  description = "Change it to give every pet a new name (each is replaced)."
  type        = string
  default     = "1"
  nullable    = false
}
