# Does not parse: line 8 gives no value, and the block of line 7 is never closed.
# Tests count on the file and the line; keep them.
variable "name" {
  type = string
}

resource "terraform_data" "broken" {
  input =
