# Parses and declares everything it uses, but only Terraform can know that line 14 asks for an
# element which does not exist. Tests count on the file and the line; keep them.
variable "index" {
  description = "0 or 1 works; anything else fails the plan."
  type        = number
  default     = 7
}

locals {
  names = ["a", "b"]
}

resource "terraform_data" "chosen" {
  input = local.names[var.index]
}

output "chosen" {
  value = terraform_data.chosen.output
}
