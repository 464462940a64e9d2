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
    error_message = "template_id is no template's volid, which looks like local:vztmpl/debian-12-v4.tar.zst."
  }
}

variable "on_new_template" {
  type        = string
  default     = "replace"
  description = "What a promoted pin does: `replace` the container, or `keep` the one that is there as it is."

  validation {
    condition     = contains(["replace", "keep"], var.on_new_template)
    error_message = "It is replace or keep."
  }
}

variable "ssh_public_keys" {
  type        = list(string)
  description = "Who may log in as root at first, when nothing has set the container up yet. Proxmox puts them in when it makes the container; a change replaces it, unless it is kept."

  validation {
    condition     = length(var.ssh_public_keys) > 0 && alltrue([for key in var.ssh_public_keys : can(regex("^(ssh|ecdsa|sk)-\\S+ \\S+", key))])
    error_message = "Give at least one line as it stands in authorized_keys: without one nobody can log in, since templates hold no password."
  }
}

variable "node_name" {
  type        = string
  description = "The node that runs the container."
}

variable "hostname" {
  type        = string
  default     = null
  description = "The container's host name. Unsaid: the template's hint, which few have."
}

variable "vm_id" {
  type        = number
  default     = null
  description = "The container's id. Unsaid: the next that is free."
}

variable "description" {
  type        = string
  default     = null
  description = "What Proxmox shows as notes. Unsaid: the template's id that the container was made from."
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
  description = "The root filesystem: its storage, and its size in GB (unsaid: the template's hint, else 4)."
}

variable "cores" {
  type        = number
  default     = null
  description = "Processor cores. Unsaid: the template's hint, else 1."
}

variable "cpu_limit" {
  type        = number
  default     = null
  description = "How many cores' time it may use at most, such as 1.5; 0 is no limit. Unsaid: the template's hint, else none."
}

variable "cpu_units" {
  type        = number
  default     = null
  description = "Its weight where processors are short. Unsaid: the template's hint, else Proxmox's own."
}

variable "memory" {
  type        = number
  default     = null
  description = "Memory in MB. Unsaid: the template's hint, else 512."
}

variable "swap" {
  type        = number
  default     = null
  description = "Swap in MB. Unsaid: the template's hint, else 0."
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
  description = "The interfaces: addresses are `dhcp`, ADDRESS/PREFIX, for IPv6 also `auto`. With `host_managed` (unsaid: the template's hint) the node sets it up, from Proxmox VE 9.1 on."
}

variable "dns" {
  type = object({
    domain  = optional(string)
    servers = optional(list(string))
  })
  default     = null
  description = "Search domain and name servers. Unsaid: the node's."
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
  description = "Volumes besides the root filesystem. What shall outlive a replaced container is a volume that exists already, or a folder of the node. Unsaid: the folders that the template's hints mount."
}

variable "unprivileged" {
  type        = bool
  default     = null
  description = "Whether the container's root is nobody on the node. Unsaid: the template's hint, else true."
}

variable "nesting" {
  type        = bool
  default     = null
  description = "Whether the container may mount what nested containers need, as systemd does. Unsaid: the template's hint; true where it has no hints."
}

variable "fuse" {
  type        = bool
  default     = null
  description = "Whether the container may mount FUSE filesystems. Unsaid: the template's hint, else false."
}

variable "console" {
  type        = string
  default     = null
  description = "What Proxmox's console shows: `tty`, `console` or `shell`. Unsaid: the template's hint, else tty."
}

variable "entrypoint" {
  type        = string
  default     = null
  description = "What Proxmox VE starts in the place of an init, from 9.1 on. Unsaid: the template's program, where it was built with `--init app`."
}

variable "environment" {
  type        = map(string)
  default     = {}
  description = "Variables for that program, besides those of the template and over them."
}

variable "started" {
  type        = bool
  default     = true
  description = "Whether the container runs."
}

variable "start_on_boot" {
  type        = bool
  default     = true
  description = "Whether it is started with the node."
}

variable "protection" {
  type        = bool
  default     = false
  description = "Whether Proxmox refuses to destroy it, and so to replace it."
}
