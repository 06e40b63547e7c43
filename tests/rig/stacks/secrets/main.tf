# Secrets in every place where one can turn up, and commands that say them although they must not:
# as they are, encoded, escaped, in errors. None of it may be seen outside.
variable "password" {
  type      = string
  sensitive = true
}

variable "account" {
  type      = object({ user = string, token = string })
  sensitive = true
}

# Given by nobody: the source itself holds it.
variable "built_in" {
  type      = string
  sensitive = true
  default   = "literal-s3cret-of-the-source"
}

variable "mode" {
  description = "What happens: `well`, `fail`, `plan_error` or `slow`."
  type        = string
  default     = "well"
}

variable "region" {
  type    = string
  default = "eu-north-1"
}

locals {
  said = {
    PASSWORD = nonsensitive(var.password)
    TOKEN    = nonsensitive(var.account.token)
    BUILT_IN = nonsensitive(var.built_in)
    JSON     = nonsensitive(jsonencode({ password = var.password }))
    BASE64   = nonsensitive(base64encode(var.password))
    BASIC    = nonsensitive(base64encode("user:${var.account.token}@host"))
    URL      = nonsensitive(urlencode(var.password))
  }
  all = "$PASSWORD | $TOKEN | $BUILT_IN | $JSON | $BASE64 | $BASIC | $URL | $CLOUD_TOKEN"
}

resource "terraform_data" "nested" {
  input = {
    region  = var.region
    account = { user = var.account.user, token = var.account.token }
    list    = [var.region, base64encode(var.password), jsonencode([var.password])]
  }

  lifecycle {
    precondition {
      condition     = var.mode != "plan_error"
      error_message = "the password ${nonsensitive(var.password)} and ${nonsensitive(var.built_in)} are wrong"
    }
  }
}

resource "terraform_data" "said" {
  triggers_replace = [var.mode]

  provisioner "local-exec" {
    command     = "echo \"said: ${local.all}\"; echo \"said too: ${local.all}\" >&2"
    environment = local.said
  }
}

resource "terraform_data" "failed" {
  count      = var.mode == "fail" ? 1 : 0
  depends_on = [terraform_data.said]

  provisioner "local-exec" {
    command     = "echo \"cannot log in with ${local.all}\" >&2; exit 3"
    environment = local.said
  }
}

resource "terraform_data" "slow" {
  count      = var.mode == "slow" ? 1 : 0
  depends_on = [terraform_data.said]

  provisioner "local-exec" {
    command = "sleep 60"
  }
}

output "region" {
  value = var.region
}

output "url" {
  value     = "postgres://${var.account.user}:${var.account.token}@db.${var.region}.internal/app"
  sensitive = true
}
