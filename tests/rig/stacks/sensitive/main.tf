# Secrets in every place where one can turn up: a variable, a nested one, a part of a longer text,
# a list, an output, and (when asked) the log of a command. None of it may be seen outside.
variable "password" {
  description = "A secret."
  type        = string
  sensitive   = true
}

variable "account" {
  description = "A secret with parts."
  type = object({
    user  = string
    token = string
  })
  sensitive = true
  default   = { user = "svc", token = "t0ken-of-the-default" }
}

variable "leak" {
  description = "Whether a command prints the password although it must not."
  type        = bool
  default     = false
}

variable "region" {
  description = "Not a secret; must stay readable."
  type        = string
  default     = "eu-north-1"
}

resource "terraform_data" "plain" {
  input = { region = var.region, password = var.password }
}

resource "terraform_data" "embedded" {
  input = "postgres://${var.account.user}:${var.account.token}@db.${var.region}.internal/app"
}

resource "terraform_data" "listed" {
  input = [var.region, base64encode(var.password)]
}

# A provider that prints what it was told not to: Terraform hides nothing here.
resource "terraform_data" "leak" {
  count = var.leak ? 1 : 0

  provisioner "local-exec" {
    command = "echo \"logging in with $PASSWORD\""

    environment = {
      PASSWORD = nonsensitive(var.password)
    }
  }
}

output "region" {
  value = var.region
}

output "url" {
  value     = terraform_data.embedded.output
  sensitive = true
}
