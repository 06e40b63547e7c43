variable "name" {
  description = "What the application is called."
  type        = string
  default     = "shop"
}

variable "environment" {
  description = "Where it runs."
  type        = string
  default     = "demo"
}

variable "app_version" {
  description = "The version that the services run."
  type        = string
  default     = "1.0.0"
}

variable "cidr" {
  description = "The network's addresses."
  type        = string
  default     = "10.42.0.0/16"

  validation {
    condition     = can(cidrsubnet(var.cidr, 8, 1))
    error_message = "cidr must be an address block with room for two /24 subnets, e.g. 10.42.0.0/16."
  }
}

variable "services" {
  description = "The services by name, each with its port and number of copies."
  type = map(object({
    port   = number
    copies = optional(number, 1)
  }))
  default = {
    web = { port = 8080, copies = 2 }
    api = { port = 8081 }
  }
}

variable "database_password" {
  description = "The database's password. A real one is given with the deployment and never written down."
  type        = string
  default     = "correct-horse-battery-staple"
  sensitive   = true
}
