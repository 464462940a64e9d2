# The pinned template with Telmate's provider. No external program runs: the pin file sets the variable.

terraform {
  required_providers {
    proxmox = {
      source  = "Telmate/proxmox"
      version = ">= 2.9.14"
    }
  }
}

# The endpoint and the token come from the environment: PM_API_URL, PM_API_TOKEN_ID and PM_API_TOKEN_SECRET.
provider "proxmox" {}

variable "lxc_templates" {
  type = map(object({
    template_id = string
    ostype      = string
  }))
  description = "The pins, from templates.auto.tfvars.json."
}

variable "ssh_public_keys" {
  type        = list(string)
  description = "Keys that can log in as root at first. A template contains no password."
}

locals {
  template = var.lxc_templates["debian-12"]
}

# Replaced when the pin moves, so it keeps no data of its own.
resource "proxmox_lxc" "web" {
  target_node     = "pve"
  hostname        = "web"
  ostemplate      = local.template.template_id
  ostype          = local.template.ostype
  unprivileged    = true
  start           = true
  ssh_public_keys = join("\n", var.ssh_public_keys)

  features {
    nesting = true
  }

  rootfs {
    storage = "local-lvm"
    size    = "4G"
  }

  network {
    name   = "eth0"
    bridge = "vmbr0"
    ip     = "dhcp"
  }
}

# Kept when the pin moves, and updated from inside.
resource "proxmox_lxc" "database" {
  target_node     = "pve"
  hostname        = "database"
  ostemplate      = local.template.template_id
  ostype          = local.template.ostype
  unprivileged    = true
  start           = true
  ssh_public_keys = join("\n", var.ssh_public_keys)

  features {
    nesting = true
  }

  rootfs {
    storage = "local-lvm"
    size    = "8G"
  }

  network {
    name   = "eth0"
    bridge = "vmbr0"
    ip     = "dhcp"
  }

  lifecycle {
    ignore_changes = [ostemplate, ostype, ssh_public_keys]
  }
}
