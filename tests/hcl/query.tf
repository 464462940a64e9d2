# data.external.debian_12.query.version variable.storage.default
variable "storage" {
  type        = string
  default     = @variable.storage.default@"/mnt/pve/pve-nfs"
  description = "Where the template lies: \"PATH\" or \"ID=PATH\"."

  validation {
    condition     = length(var.storage) > 0 && substr(var.storage, 0, 1) == "/"
    error_message = "A path is wanted."
  }
}

data "external" "debian_12" {
  program = ["lxcast-data"]
  query = {
    name    = "debian-12"
    version = @data.external.debian_12.query.version@"v4"
    storage = var.storage != "" ? var.storage : "${path.module}/../storage"
  }
}

check "template_is_pinned" {
  assert {
    condition     = length(jsondecode(data.external.debian_12.result.warnings)) == 0
    error_message = data.external.debian_12.result.warnings
  }
}

output "template_id" { value = data.external.debian_12.result.template_id }
