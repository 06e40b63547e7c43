# What is given from the central configuration, as it arrives. Nothing here is marked as sensitive.
variable "region" {
  type = string
}

variable "pool" {
  type = object({ size = number })
}

variable "url" {
  type = string
}

variable "literal" {
  type = string
}

resource "terraform_data" "connect" {
  input = { region = var.region, url = var.url }

  provisioner "local-exec" {
    command = "echo \"connecting to $URL\""
    environment = {
      URL = var.url
    }
  }
}

output "region" {
  value = terraform_data.connect.output.region
}

output "size" {
  value = var.pool.size
}

output "literal" {
  value = var.literal
}

output "length" {
  value = length(var.url)
}
