locals {
  given = {
    template        = var.template
    ssh_public_keys = var.ssh_public_keys
  }
  made_from = var.on_new_template == "keep" ? terraform_data.made_from[0].output : local.given
  template  = local.made_from.template
  hints     = local.template.hints

  # A record always says whether it runs unprivileged: where that is unsaid, the pin was written without hints.
  nesting = coalesce(var.nesting, local.hints.nesting, local.hints.unprivileged == null)
}

# What a kept container was made from. Proxmox stores neither template nor keys, and the provider replaces the container
# where they change. An ignore_changes on the container cannot be chosen by a variable, and would not cover what follows
# from the template's hints.
resource "terraform_data" "made_from" {
  count = var.on_new_template == "keep" ? 1 : 0
  input = local.given

  lifecycle {
    ignore_changes = [input]
  }
}

resource "proxmox_virtual_environment_container" "container" {
  node_name     = var.node_name
  vm_id         = var.vm_id
  description   = var.description == null ? "Made from ${local.template.template_id}" : var.description
  tags          = var.tags
  pool_id       = var.pool_id
  unprivileged  = coalesce(var.unprivileged, local.hints.unprivileged, true)
  started       = var.started
  start_on_boot = var.start_on_boot
  protection    = var.protection

  operating_system {
    template_file_id = local.template.template_id
    type             = local.template.ostype == "" ? "unmanaged" : local.template.ostype
  }

  cpu {
    architecture = local.template.arch == "" ? "amd64" : local.template.arch
    cores        = var.cores
  }

  memory {
    dedicated = var.memory
    swap      = var.swap
  }

  disk {
    datastore_id = var.disk.datastore_id
    size         = coalesce(var.disk.size, local.hints.disk_gb, 4)
  }

  features {
    nesting = local.nesting
  }

  dynamic "network_interface" {
    for_each = var.networks
    iterator = each

    content {
      name        = each.value.name
      bridge      = each.value.bridge
      vlan_id     = each.value.vlan_id
      mac_address = each.value.mac
      firewall    = each.value.firewall
    }
  }

  dynamic "mount_point" {
    for_each = var.mount_points
    iterator = each

    content {
      path      = each.value.path
      volume    = each.value.volume
      size      = each.value.size
      read_only = each.value.read_only
      backup    = each.value.backup
    }
  }

  initialization {
    hostname = var.hostname

    dynamic "ip_config" {
      for_each = var.networks
      iterator = each

      content {
        ipv4 {
          address = each.value.ipv4
          gateway = each.value.gateway4
        }

        dynamic "ipv6" {
          for_each = each.value.ipv6 == null ? [] : [each.value.ipv6]

          content {
            address = ipv6.value
            gateway = each.value.gateway6
          }
        }
      }
    }

    dynamic "dns" {
      for_each = var.dns == null ? [] : [var.dns]

      content {
        domain  = dns.value.domain
        servers = dns.value.servers
      }
    }

    user_account {
      keys = [for key in local.made_from.ssh_public_keys : trimspace(key)]
    }
  }
}
