# The ground truth of tests that kill things: every resource writes down, outside of the product,
# when its creation starts and when it ends. Two `start` lines of one deployment and index are a
# change that was made twice.
#
# A line is `deployment run index pid start|end nanoseconds`, where `run` names the Terraform
# process (its pid and its start time, so a reused pid is another run). Each line is one write to
# a file opened for appending: lines of processes that run at the same time do not mix.
terraform {
  required_version = ">= 1.4"
}

variable "ledger" {
  description = "The ledger file, an absolute path."
  type        = string
}

variable "deployment" {
  description = "What the test calls this deployment; one word."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+$", var.deployment))
    error_message = "deployment must be one word."
  }
}

variable "resources" {
  description = "How many resources."
  type        = number
  default     = 3
}

variable "seconds" {
  description = "How long each takes; fractions are allowed."
  type        = number
  default     = 0
}

resource "terraform_data" "entry" {
  count = var.resources

  # Another deployment of the same stack makes every entry anew.
  triggers_replace = [var.deployment]

  provisioner "local-exec" {
    interpreter = ["/bin/sh", "-euc"]
    command     = <<-SH
      run=$PPID-$(cut -d' ' -f22 "/proc/$PPID/stat")
      printf '%s %s %s %s start %s\n' "$DEPLOYMENT" "$run" "$INDEX" "$$" "$(date +%s%N)" >>"$LEDGER"
      sleep "$DURATION"
      printf '%s %s %s %s end %s\n' "$DEPLOYMENT" "$run" "$INDEX" "$$" "$(date +%s%N)" >>"$LEDGER"
    SH

    environment = {
      DEPLOYMENT = var.deployment
      DURATION   = tostring(var.seconds)
      INDEX      = tostring(count.index)
      LEDGER     = var.ledger
    }
  }
}

output "entries" {
  value = length(terraform_data.entry)
}
