mock_provider "proxmox" {}

variables {
  template = {
    template_id = "local:vztmpl/debian-12-v4.tar.zst"
    ostype      = "debian"
    arch        = "arm64"
    hints       = { disk_gb = 6, unprivileged = true }
  }
  node_name       = "pve1"
  hostname        = "web"
  ssh_public_keys = ["ssh-ed25519 AAAA someone\n"]
}

run "hints_are_defaults" {
  command = plan

  assert {
    condition     = proxmox_virtual_environment_container.container.disk[0].size == 6
    error_message = "the hint for the disk is not taken"
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.features[0].nesting == false
    error_message = "a record without a hint for nesting needs none"
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.cpu[0].architecture == "arm64"
    error_message = "the architecture is not the template's"
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.initialization[0].user_account[0].keys[0] == "ssh-ed25519 AAAA someone"
    error_message = "the key is not handed on in one line"
  }
}

run "what_is_said_wins" {
  command = plan

  variables {
    disk         = { datastore_id = "local-zfs", size = 20 }
    nesting      = true
    unprivileged = false
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.disk[0].size == 20 && proxmox_virtual_environment_container.container.disk[0].datastore_id == "local-zfs"
    error_message = "the disk is not the one that is said"
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.features[0].nesting && !proxmox_virtual_environment_container.container.unprivileged
    error_message = "nesting and unprivileged are not those that are said"
  }
}

run "a_pin_without_hints" {
  command = plan

  variables {
    template = { template_id = "local:vztmpl/debian-12-v4.tar.zst", version = "v4", size = 8, previous = null }
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.features[0].nesting && proxmox_virtual_environment_container.container.unprivileged && proxmox_virtual_environment_container.container.disk[0].size == 4
    error_message = "the defaults are not the safe ones"
  }
}

run "everything_else_is_handed_on" {
  command = plan

  variables {
    networks = [
      { vlan_id = 7, ipv4 = "192.0.2.5/24", gateway4 = "192.0.2.1" },
      { name = "eth1", bridge = "vmbr1", firewall = true, ipv6 = "auto" },
    ]
    dns          = { domain = "example.org", servers = ["192.0.2.53"] }
    mount_points = [{ path = "/srv", volume = "/mnt/srv" }]
  }

  assert {
    condition     = join(" ", proxmox_virtual_environment_container.container.network_interface[*].name) == "eth0 eth1"
    error_message = "the interfaces are not those that are said"
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.initialization[0].ip_config[1].ipv6[0].address == "auto"
    error_message = "the IPv6 address is lost"
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.mount_point[0].volume == "/mnt/srv"
    error_message = "the mount point is lost"
  }
}

run "without_a_key" {
  command = plan

  variables {
    ssh_public_keys = []
  }

  expect_failures = [var.ssh_public_keys]
}

run "no_volid" {
  command = plan

  variables {
    template = { template_id = "debian-12-v4.tar.zst" }
  }

  expect_failures = [var.template]
}

run "an_unknown_pattern" {
  command = plan

  variables {
    on_new_template = "ask"
  }

  expect_failures = [var.on_new_template]
}
