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
    error_message = "the key is not passed on in one line"
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
    error_message = "the disk is not the one in the arguments"
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.features[0].nesting && !proxmox_virtual_environment_container.container.unprivileged
    error_message = "nesting and unprivileged are not those in the arguments"
  }
}

run "a_programs_hints_are_defaults" {
  command = plan

  variables {
    hostname = null
    template = {
      template_id = "local:vztmpl/app-v1.tar.zst"
      format      = "zst"
      hints = {
        disk_gb      = 1
        unprivileged = true
        features     = ["fuse=1"]
        hostname     = "app.example"
        cores        = 3
        cpulimit     = 2.5
        cpuunits     = 50
        memory       = 96
        swap         = 190
        cmode        = "console"
        host_managed = true
        mounts = [
          { destination = "/data", type = "bind", source = "/srv/my data", options = ["ro"] },
          { destination = "/out", source = "/srv/out", options = ["rbind"] },
          { destination = "/scratch", type = "tmpfs", source = "tmpfs" },
          { destination = "/volume", type = "volume" },
        ]
        init       = "app"
        entrypoint = ["/bin/app", "two words", ""]
        cmd        = ["say \"x\"", "it's", "'q'", "x\"y"]
        env        = ["A=b=c", "B", "A=last", "C="]
      }
    }
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.initialization[0].hostname == "app.example"
    error_message = "the host's name is not the hint"
  }

  assert {
    condition     = jsonencode([for name in ["cores", "limit", "units"] : proxmox_virtual_environment_container.container.cpu[0][name]]) == "[3,2.5,50]"
    error_message = "the processors are not the hints"
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.memory[0].dedicated == 96 && proxmox_virtual_environment_container.container.memory[0].swap == 190
    error_message = "the memory is not the hints"
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.features[0].fuse && proxmox_virtual_environment_container.container.console[0].type == "console" && proxmox_virtual_environment_container.container.network_interface[0].host_managed
    error_message = "FUSE, the console or the network is not the hint"
  }

  assert {
    condition = [for each in proxmox_virtual_environment_container.container.mount_point : "${each.volume} ${each.path} ${each.read_only}"] == [
      "/srv/my data /data true", "/srv/out /out false"
    ]
    error_message = "the directories are not those of the hints"
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.initialization[0].entrypoint == "/bin/app \"two words\" \"\" 'say \"x\"' it's \"'q'\" x\"y"
    error_message = "the program is started as ${proxmox_virtual_environment_container.container.initialization[0].entrypoint}"
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.environment_variables == tomap({ A = "last", B = "", C = "" })
    error_message = "the environment is ${jsonencode(proxmox_virtual_environment_container.container.environment_variables)}"
  }
}

run "what_is_said_wins_over_a_programs_hints" {
  command = plan

  variables {
    template = {
      template_id = "local:vztmpl/app-v1.tar.zst"
      hints = {
        features     = ["fuse=1"]
        hostname     = "app.example"
        cores        = 3
        cpulimit     = 2.5
        cpuunits     = 50
        memory       = 96
        swap         = 190
        cmode        = "console"
        host_managed = true
        mounts       = [{ destination = "/data", type = "bind", source = "/etc" }]
        init         = "app"
        entrypoint   = ["/bin/app"]
        env          = ["A=b", "KEY=***"]
      }
    }
    cores        = 1
    cpu_limit    = 0
    cpu_units    = 100
    memory       = 512
    swap         = 0
    fuse         = false
    console      = "tty"
    networks     = [{ host_managed = false }]
    mount_points = []
    entrypoint   = "/bin/other"
    environment  = { A = "x", KEY = "y" }
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.initialization[0].hostname == "web" && proxmox_virtual_environment_container.container.initialization[0].entrypoint == "/bin/other"
    error_message = "the host name or the program is not the one in the arguments"
  }

  assert {
    condition     = jsonencode([for name in ["cores", "limit", "units"] : proxmox_virtual_environment_container.container.cpu[0][name]]) == "[1,0,100]"
    error_message = "the processors are not those in the arguments"
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.memory[0].dedicated == 512 && proxmox_virtual_environment_container.container.memory[0].swap == 0
    error_message = "the memory is not the one in the arguments"
  }

  assert {
    condition     = !proxmox_virtual_environment_container.container.features[0].fuse && proxmox_virtual_environment_container.container.console[0].type == "tty" && !proxmox_virtual_environment_container.container.network_interface[0].host_managed
    error_message = "FUSE, the console or the network is not the one in the arguments"
  }

  assert {
    condition     = length(proxmox_virtual_environment_container.container.mount_point) == 0
    error_message = "a directory is mounted although no argument sets one"
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.environment_variables == tomap({ A = "x", KEY = "y" })
    error_message = "the environment is not the one in the arguments"
  }
}

run "an_image_keeps_what_it_starts" {
  command = plan

  variables {
    template = {
      template_id = "local:vztmpl/app-v1.tar"
      format      = "oci-archive"
      hints       = { init = "app", entrypoint = ["/bin/app"], env = ["A=b"], uid = 5 }
    }
  }

  assert {
    condition     = proxmox_virtual_environment_container.container.initialization[0].entrypoint == "/bin/app" && proxmox_virtual_environment_container.container.environment_variables["A"] == "b"
    error_message = "the provider would remove the process of the image"
  }
}

run "a_hidden_value_is_asked_for" {
  command = plan

  variables {
    template = {
      template_id = "local:vztmpl/app-v1.tar.zst"
      hints       = { init = "app", entrypoint = ["/bin/app"], env = ["KEY=***"] }
    }
  }

  expect_failures = [check.hidden]
}

run "a_programs_user_is_told" {
  command = plan

  variables {
    template = {
      template_id = "local:vztmpl/app-v1.tar.zst"
      hints       = { init = "app", entrypoint = ["/bin/app"], uid = 1000, gid = 100 }
    }
  }

  expect_failures = [check.user]
}

run "without_a_hostname" {
  command = plan

  variables {
    hostname = null
  }

  expect_failures = [proxmox_virtual_environment_container.container]
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

  assert {
    condition     = proxmox_virtual_environment_container.container.memory[0].dedicated == 512 && proxmox_virtual_environment_container.container.cpu[0].cores == 1 && length(proxmox_virtual_environment_container.container.mount_point) == 0
    error_message = "memory, processors or directories are set although nothing sets them"
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
    error_message = "the interfaces are not those in the arguments"
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
