variable "name" {
  description = "The service's name."
  type        = string
}

variable "port" {
  description = "The port it listens on."
  type        = number
}

variable "copies" {
  description = "How many of it run."
  type        = number
}

variable "subnet" {
  description = "The subnet whose addresses they get."
  type        = string
}

variable "app_version" {
  description = "The version they run."
  type        = string
}

variable "rollout_id" {
  description = "What made that version ready to run."
  type        = string
}

resource "terraform_data" "instance" {
  count = var.copies

  input = {
    name       = "${var.name}-${count.index + 1}"
    address    = "${cidrhost(var.subnet, (var.port % 100) + 10 * count.index)}:${var.port}"
    version    = var.app_version
    rollout_id = var.rollout_id
  }
}

output "addresses" {
  description = "Where the copies listen."
  value       = terraform_data.instance[*].input.address
}
