locals {
  given = {
    template        = var.template
    ssh_public_keys = var.ssh_public_keys
  }
  made_from = var.on_new_template == "keep" ? terraform_data.made_from[0].input : local.given
  template  = local.made_from.template
  hints     = local.template.hints
}

# What a kept container was created from. Proxmox stores neither template nor keys, and the provider replaces the
# container if they change. An ignore_changes on the container cannot depend on a variable, and would not cover what
# follows from the template's hints. `input` is read, not `output`: it is known in the first plan already.
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
  description   = var.description == null ? "Created from ${local.template.template_id}" : var.description
  tags          = var.tags
  pool_id       = var.pool_id
  unprivileged  = coalesce(var.unprivileged, local.hints.unprivileged, true)
  started       = var.started
  start_on_boot = var.start_on_boot
  protection    = var.protection

  environment_variables = length(local.environment) == 0 ? null : local.environment

  operating_system {
    template_file_id = local.template.template_id
    type             = local.template.ostype == "" ? "unmanaged" : local.template.ostype
  }

  cpu {
    architecture = local.template.arch == "" ? "amd64" : local.template.arch
    cores        = coalesce(var.cores, local.hints.cores, 1)
    limit        = var.cpu_limit == null ? local.hints.cpulimit : var.cpu_limit
    units        = var.cpu_units == null ? local.hints.cpuunits : var.cpu_units
  }

  memory {
    dedicated = coalesce(var.memory, local.hints.memory, 512)
    swap      = coalesce(var.swap, local.hints.swap, 0)
  }

  disk {
    datastore_id = var.disk.datastore_id
    size         = coalesce(var.disk.size, local.hints.disk_gb, 4)
  }

  features {
    nesting = local.nesting
    fuse    = local.fuse
  }

  dynamic "console" {
    for_each = local.console == null ? [] : [local.console]

    content {
      type = console.value
    }
  }

  dynamic "network_interface" {
    for_each = var.networks
    iterator = each

    content {
      name         = each.value.name
      bridge       = each.value.bridge
      vlan_id      = each.value.vlan_id
      mac_address  = each.value.mac
      firewall     = each.value.firewall
      host_managed = each.value.host_managed == null ? local.hints.host_managed : each.value.host_managed
    }
  }

  dynamic "mount_point" {
    for_each = local.mount_points
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
    hostname   = local.hostname
    entrypoint = local.entrypoint

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

  lifecycle {
    precondition {
      condition     = local.hostname != null
      error_message = "The template's record has no host name: set hostname."
    }
  }
}

check "hidden" {
  assert {
    condition     = length(local.hidden) == 0
    error_message = "The record hides the values of ${join(", ", local.hidden)}: set them in environment."
  }
}

check "user" {
  assert {
    condition     = !local.app || local.user == "0:0"
    error_message = "The program of ${local.template.template_id} should run as ${local.user}, which bpg/proxmox cannot set, so it would run as root: before its first start, append lxc.init.uid and lxc.init.gid to the container's configuration on the node."
  }
}

# Proxmox overwrites both with the image's own when it unpacks an OCI archive (pve-container, restore_oci_archive).
check "oci_archive" {
  assert {
    condition     = !local.image || (length(local.given_names) == 0 && var.entrypoint == null)
    error_message = "${local.template.template_id} is an OCI archive: Proxmox replaces environment and entrypoint by those of the image when it creates the container. Run `terraform apply` a second time to set them, then restart the container; or build the template with `--format zst --init app`."
  }
}
