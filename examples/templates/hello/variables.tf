variable "name" {
  description = "Who is greeted."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.name) > 0 && length(var.name) <= 100
    error_message = "The name must have 1 to 100 characters."
  }
}

variable "copies" {
  description = "How many greetings to make."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.copies >= 0 && var.copies <= 500 && floor(var.copies) == var.copies
    error_message = "copies must be a whole number from 0 to 500."
  }
}

variable "tags" {
  description = "Labels that each greeting carries."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "settings" {
  description = "How the greeting is worded."
  type = object({
    salutation  = optional(string, "Hello")
    punctuation = optional(string, "!")
  })
  default  = {}
  nullable = false
}
