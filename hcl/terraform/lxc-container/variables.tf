variable "template" {
  type = object({
    template_id = string
    ostype      = optional(string, "")
    arch        = optional(string, "")
    format      = optional(string, "")
    hints = optional(object({
      disk_gb      = optional(number)
      nesting      = optional(bool)
      unprivileged = optional(bool)
      features     = optional(list(string), [])
      hostname     = optional(string)
      cores        = optional(number)
      cpulimit     = optional(number)
      cpuunits     = optional(number)
      memory       = optional(number)
      swap         = optional(number)
      cmode        = optional(string)
      host_managed = optional(bool)
      mounts = optional(list(object({
        destination = string
        type        = optional(string, "")
        source      = optional(string, "")
        options     = optional(list(string), [])
      })), [])
      init       = optional(string)
      entrypoint = optional(list(string), [])
      cmd        = optional(list(string), [])
      env        = optional(list(string), [])
      uid        = optional(number)
      gid        = optional(number)
    }), {})
  })
  description = "The template: `module.NAME.template` of lxc-template, or `var.lxc_templates[\"NAME\"]` of the pin file."

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]:vztmpl/[A-Za-z0-9_.-]+$", var.template.template_id))
    error_message = "template_id is not a template's volid, such as local:vztmpl/debian-12-v4.tar.zst."
  }
}

variable "on_new_template" {
  type        = string
  default     = "replace"
  description = "What a promoted pin does: `replace` the container, or `keep` the existing one unchanged."

  validation {
    condition     = contains(["replace", "keep"], var.on_new_template)
    error_message = "on_new_template must be replace or keep."
  }
}

variable "ssh_public_keys" {
  type        = list(string)
  description = "Public keys for the first login as root. Proxmox writes them when it creates the container; a change replaces the container, unless it is kept."

  validation {
    condition     = length(var.ssh_public_keys) > 0 && alltrue([for key in var.ssh_public_keys : can(regex("^(ssh|ecdsa|sk)-\\S+ \\S+", key))])
    error_message = "ssh_public_keys needs at least one line in the format of authorized_keys: templates hold no password, so nobody could log in."
  }
}

variable "node_name" {
  type        = string
  description = "The node that runs the container."
}

variable "hostname" {
  type        = string
  default     = null
  description = "The container's host name. Default: the template's hint, which few have."
}

variable "vm_id" {
  type        = number
  default     = null
  description = "The container's id. Default: the next free one."
}

variable "description" {
  type        = string
  default     = null
  description = "Notes in Proxmox. Default: the id of the template that the container was created from."
}

variable "tags" {
  type        = list(string)
  default     = []
  description = "Tags, in lower case and sorted, as Proxmox keeps them."
}

variable "pool_id" {
  type        = string
  default     = null
  description = "The pool that the container belongs to."
}

variable "disk" {
  type = object({
    datastore_id = optional(string, "local-lvm")
    size         = optional(number)
  })
  default     = {}
  description = "The root filesystem: its storage, and its size in GB (default: the template's hint, else 4)."
}

variable "cores" {
  type        = number
  default     = null
  description = "Processor cores. Default: the template's hint, else 1."
}

variable "cpu_limit" {
  type        = number
  default     = null
  description = "Limit of CPU time in cores, such as 1.5; 0 means unlimited. Default: the template's hint, else none."
}

variable "cpu_units" {
  type        = number
  default     = null
  description = "CPU weight against other containers. Default: the template's hint, else Proxmox's own."
}

variable "memory" {
  type        = number
  default     = null
  description = "Memory in MB. Default: the template's hint, else 512."
}

variable "swap" {
  type        = number
  default     = null
  description = "Swap in MB. Default: the template's hint, else 0."
}

variable "networks" {
  type = list(object({
    name         = optional(string, "eth0")
    bridge       = optional(string, "vmbr0")
    vlan_id      = optional(number)
    mac          = optional(string)
    firewall     = optional(bool, false)
    ipv4         = optional(string, "dhcp")
    gateway4     = optional(string)
    ipv6         = optional(string)
    gateway6     = optional(string)
    host_managed = optional(bool)
  }))
  default     = [{}]
  description = "The interfaces: addresses are `dhcp`, ADDRESS/PREFIX, for IPv6 also `auto`. With `host_managed` (default: the template's hint) the node configures the interface (Proxmox VE 9.1 or newer)."
}

variable "dns" {
  type = object({
    domain  = optional(string)
    servers = optional(list(string))
  })
  default     = null
  description = "Search domain and name servers. Default: the node's."
}

variable "mount_points" {
  type = list(object({
    path      = string
    volume    = string
    size      = optional(string)
    read_only = optional(bool, false)
    backup    = optional(bool, false)
  }))
  default     = null
  description = "Volumes in addition to the root filesystem. Data that must survive a replaced container needs an existing volume or a directory of the node. Default: the directories that the template's hints mount."
}

variable "unprivileged" {
  type        = bool
  default     = null
  description = "Whether the container's root is mapped to an unprivileged user of the node. Default: the template's hint, else true."
}

variable "nesting" {
  type        = bool
  default     = null
  description = "Whether the container may mount what nested containers need, as systemd does. Default: the template's hint; true without hints. Set it before the first apply: an API token cannot change features later (403), only root@pam can."
}

variable "fuse" {
  type        = bool
  default     = null
  description = "Whether the container may mount FUSE filesystems. Default: the template's hint, else false."
}

variable "console" {
  type        = string
  default     = null
  description = "What Proxmox's console shows: `tty`, `console` or `shell`. Default: the template's hint, else tty."
}

variable "entrypoint" {
  type        = string
  default     = null
  description = "The command that Proxmox VE 9.1 or newer starts in place of an init. Default: the template's program if it was built with `--init app`."
}

variable "environment" {
  type        = map(string)
  default     = {}
  description = "Environment variables; they are merged with those of the template and override them."
}

variable "started" {
  type        = bool
  default     = true
  description = "Whether the container runs."
}

variable "start_on_boot" {
  type        = bool
  default     = true
  description = "Whether it starts with the node."
}

variable "protection" {
  type        = bool
  default     = false
  description = "Whether Proxmox refuses to destroy it, and thus to replace it."
}
