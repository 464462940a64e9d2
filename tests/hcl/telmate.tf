# resource.proxmox_lxc.db.ostemplate resource.proxmox_lxc.db.network.name
resource "proxmox_lxc" "db" {
  target_node  = "pve1"
  hostname     = "db"
  ostemplate   = @resource.proxmox_lxc.db.ostemplate@"local:vztmpl/debian-12-v3.tar.zst" # pinned
  unprivileged = true

  ssh_public_keys = <<-EOT
    ssh-ed25519 AAAA user@example.test
  EOT

  rootfs {
    storage = "local-zfs"
    size    = "8G"
  }

  network {
    name   = @resource.proxmox_lxc.db.network.name@"eth0"
    bridge = "vmbr0"
    ip     = "dhcp"
  }
}
