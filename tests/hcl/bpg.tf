# local.lxc_rootfs_version resource.proxmox_virtual_environment_container.web.operating_system.type resource.proxmox_virtual_environment_container.web.disk[1].size_text
terraform {
  required_version = ">= 1.6"
  required_providers {
    proxmox = {
      source  = "bpg/proxmox"
      version = "~> 0.111"
    }
  }
}

locals {
  # The version of the golden image; moved by `lxcast promote`.
  lxc_rootfs_version = @local.lxc_rootfs_version@"v3"
  lxc_template       = "pve-nfs:vztmpl/ubuntu-24.04-lxc-rootfs-${local.lxc_rootfs_version}.tar.gz"

  nodes = { for n in var.nodes : n.name => n if n.online }
}

resource "proxmox_virtual_environment_container" "web" {
  for_each     = local.nodes
  node_name    = each.key
  unprivileged = true

  operating_system {
    template_file_id = local.lxc_template
    type             = @resource.proxmox_virtual_environment_container.web.operating_system.type@"debian"
  }

  disk {
    datastore_id = "local-lvm"
    size         = 4
  }

  disk {
    datastore_id = "ceph"
    size_text    = @resource.proxmox_virtual_environment_container.web.disk[1].size_text@"8G"
  }

  initialization {
    hostname = "web-${each.key}"
    user_account {
      keys = [trimspace(file("~/.ssh/id_ed25519.pub"))]
    }
  }

  lifecycle {
    precondition {
      condition     = can(regex("-(v[0-9]+)\\.tar\\.gz$", local.lxc_template))
      error_message = "The template has no version: ${local.lxc_template}"
    }
  }
}
