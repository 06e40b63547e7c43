# An apply that can be killed in the middle, with nothing in flight that reaches out of the state.
terraform {
  required_providers {
    time = {
      source = "hashicorp/time"
    }
  }
}

variable "seconds" {
  type = number
}

resource "terraform_data" "before" {}

resource "time_sleep" "wait" {
  create_duration = "${var.seconds}s"
  depends_on      = [terraform_data.before]
}

resource "terraform_data" "after" {
  input = time_sleep.wait.id
}
