# Containers from the pinned template. `lxcast pin write debian-12 --version v4` writes templates.auto.tfvars.json, and
# `lxcast promote` moves the pin.

terraform {
  required_providers {
    external = {
      source  = "hashicorp/external"
      version = ">= 1.2.0, < 3.0.0"
    }
    proxmox = {
      source  = "bpg/proxmox"
      version = ">= 0.111.0, < 1.0"
    }
  }
}

# The endpoint and the token come from the environment: PROXMOX_VE_ENDPOINT and PROXMOX_VE_API_TOKEN.
provider "proxmox" {}

# Set by the pin file. The data source reads that file itself.
variable "lxc_templates" {
  type        = any
  description = "The pins."
}

variable "ssh_public_keys" {
  type        = list(string)
  description = "Keys that can log in as root at first."
}

variable "node_name" {
  type        = string
  default     = "pve"
  description = "The node that runs the containers."
}

variable "datastore_id" {
  type        = string
  default     = "local-lvm"
  description = "The storage for the root filesystems."
}

module "debian_12" {
  source = "../../hcl/terraform/lxc-template"
  name   = "debian-12"
}

# Replaced when the pin moves, so it keeps no data of its own.
module "web" {
  source          = "../../hcl/terraform/lxc-container"
  template        = module.debian_12.template
  hostname        = "web"
  node_name       = var.node_name
  ssh_public_keys = var.ssh_public_keys
  disk            = { datastore_id = var.datastore_id }
  networks        = [{ ipv4 = "192.0.2.10/24", gateway4 = "192.0.2.1" }]
}

# Kept when the pin moves, and updated from inside.
module "database" {
  source          = "../../hcl/terraform/lxc-container"
  template        = module.debian_12.template
  on_new_template = "keep"
  hostname        = "database"
  node_name       = var.node_name
  ssh_public_keys = var.ssh_public_keys
  disk            = { datastore_id = var.datastore_id, size = 8 }
  networks        = [{ ipv4 = "192.0.2.11/24", gateway4 = "192.0.2.1" }]
}

output "template_id" {
  value = module.debian_12.template_id
}
