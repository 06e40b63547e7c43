# Plans well; its apply makes two resources, fails on the third (line 21), and never starts the
# fourth. Tests count on the addresses and the line; keep them.
variable "exit_code" {
  description = "What the third resource's command exits with; 0 lets the apply succeed."
  type        = number
  default     = 3
}

resource "terraform_data" "first" {
  input = "made"
}

resource "terraform_data" "second" {
  input = "${terraform_data.first.output}, too"
}

resource "terraform_data" "third" {
  input = terraform_data.second.output

  # A failing provisioner leaves its resource tainted, like a cloud object that came up broken.
  provisioner "local-exec" {
    command = "echo 'the third resource refuses' >&2; exit \"$EXIT_CODE\""

    environment = {
      EXIT_CODE = tostring(var.exit_code)
    }
  }
}

resource "terraform_data" "fourth" {
  input = terraform_data.third.output
}
