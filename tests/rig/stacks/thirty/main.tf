# Thirty resources for tests that kill applies: twelve that write down outside of the product, when
# their creation starts and when it ends (see the stack `ledger` for the lines), six files, and
# twelve that exist in the state alone. They come in three rows, so that there is always something
# that is made, something that is being made, and something that is not begun.
terraform {
  required_version = ">= 1.4"

  required_providers {
    local  = { source = "hashicorp/local" }
    null   = { source = "hashicorp/null" }
    random = { source = "hashicorp/random" }
  }
}

variable "ledger" {
  description = "The ledger file, an absolute path."
  type        = string
}

variable "deployment" {
  description = "What the test calls this deployment; one word."
  type        = string
}

variable "files" {
  description = "A directory for the files, an absolute path."
  type        = string
}

variable "seconds" {
  description = "How long each ledger entry takes; fractions are allowed."
  type        = number
  default     = 0.2
}

locals {
  script = <<-SH
    run=$PPID-$(cut -d' ' -f22 "/proc/$PPID/stat")
    printf '%s %s %s %s start %s\n' "$DEPLOYMENT" "$run" "$INDEX" "$$" "$(date +%s%N)" >>"$LEDGER"
    sleep "$DURATION"
    printf '%s %s %s %s end %s\n' "$DEPLOYMENT" "$run" "$INDEX" "$$" "$(date +%s%N)" >>"$LEDGER"
  SH

  environment = {
    DEPLOYMENT = var.deployment
    DURATION   = tostring(var.seconds)
    LEDGER     = var.ledger
  }
}

resource "random_id" "first" {
  count       = 4
  byte_length = 8
}

resource "terraform_data" "first" {
  count = 4
  input = random_id.first[count.index].hex

  provisioner "local-exec" {
    interpreter = ["/bin/sh", "-euc"]
    command     = local.script
    environment = merge(local.environment, { INDEX = "first-${count.index}" })
  }
}

resource "local_file" "first" {
  count    = 2
  filename = "${var.files}/first-${count.index}"
  content  = random_id.first[count.index].hex
}

resource "null_resource" "second" {
  count    = 4
  triggers = { after = terraform_data.first[count.index].id }
}

resource "terraform_data" "second" {
  count = 4
  input = terraform_data.first[count.index].id

  provisioner "local-exec" {
    interpreter = ["/bin/sh", "-euc"]
    command     = local.script
    environment = merge(local.environment, { INDEX = "second-${count.index}" })
  }
}

resource "local_file" "second" {
  count    = 2
  filename = "${var.files}/second-${count.index}"
  content  = terraform_data.second[count.index].output
}

resource "random_id" "third" {
  count       = 4
  byte_length = 8
  keepers     = { after = terraform_data.second[count.index].id }
}

resource "terraform_data" "third" {
  count = 4
  input = random_id.third[count.index].hex

  provisioner "local-exec" {
    interpreter = ["/bin/sh", "-euc"]
    command     = local.script
    environment = merge(local.environment, { INDEX = "third-${count.index}" })
  }
}

resource "local_file" "third" {
  count    = 2
  filename = "${var.files}/third-${count.index}"
  content  = random_id.third[count.index].hex
}

output "made" {
  value = length(concat(terraform_data.first, terraform_data.second, terraform_data.third))
}
