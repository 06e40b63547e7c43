terraform {
  required_version = ">= 1.4"
}

resource "terraform_data" "greeting" {
  count = var.copies

  input = {
    text = "${var.settings.salutation}, ${var.name}${var.settings.punctuation}"
    copy = count.index + 1
    tags = var.tags
  }
}
