# An apply that takes its time: one resource at once, then two one after the other (Terraform runs
# what is independent at the same time), each `seconds` long, then one more at once. For tests that
# cancel, kill or wait.
variable "seconds" {
  description = "How long each of the two steps takes; fractions are allowed."
  type        = number
  default     = 5
}

resource "terraform_data" "before" {
  input = "made at once"
}

resource "terraform_data" "step_1" {
  input = terraform_data.before.output

  provisioner "local-exec" {
    command = "exec sleep \"$SECONDS_LONG\""

    environment = {
      SECONDS_LONG = tostring(var.seconds)
    }
  }
}

resource "terraform_data" "step_2" {
  input = terraform_data.step_1.output

  provisioner "local-exec" {
    command = "exec sleep \"$SECONDS_LONG\""

    environment = {
      SECONDS_LONG = tostring(var.seconds)
    }
  }
}

resource "terraform_data" "after" {
  input = terraform_data.step_2.output
}
