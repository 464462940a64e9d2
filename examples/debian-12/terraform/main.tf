# Reads the template's id from the record that lies beside it. The next step is a container that is made from it:
# `template_file_id` of bpg/proxmox, `ostemplate` of Telmate's provider.

terraform {
  required_providers {
    external = {
      source  = "hashicorp/external"
      version = ">= 1.2.0, < 3.0.0"
    }
  }
}

variable "template_version" {
  type        = string
  default     = "v1"
  description = "The one template in use. Changing it replaces what was made from the other one."
}

variable "storage" {
  type        = string
  default     = ""
  description = "Where the template lies: PATH or ID=PATH. Unsaid: the folder storage that packer.pkr.hcl builds into."
}

data "external" "debian_12" {
  program = ["lxcast-data"]
  query = {
    name    = "debian-12"
    version = var.template_version
    storage = var.storage != "" ? var.storage : "${path.module}/../storage"
  }
}

output "template_id" {
  value = data.external.debian_12.result.template_id
}

output "template_sha256" {
  value = data.external.debian_12.result.sha256
}
