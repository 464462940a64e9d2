# Reads the template's id from its record. Use the id in a container: `template_file_id` of bpg/proxmox, or `ostemplate`
# of Telmate's provider.

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
  description = "The template version in use. Changing it replaces the containers created from the other version."
}

variable "storage" {
  type        = string
  default     = ""
  description = "The storage with the template: PATH or ID=PATH. Default: the directory storage, which packer.pkr.hcl builds into."
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
