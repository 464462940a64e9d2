# Debian 12 with systemd and SSH as a golden Proxmox container template.
#
#   Packer 1.7 and newer:  packer init .  &&  packer build .
#   Packer 1.6:            packer build packer.pkr.hcl       (plugins.pkr.hcl is not read)

variable "name" {
  type        = string
  default     = "debian-12"
  description = "The template's name."
  validation {
    condition     = var.name != "" && regex_replace(var.name, "^[a-z0-9][a-z0-9.-]*$", "") == ""
    error_message = "The name has small letters, digits, dots and hyphens, as in debian-12."
  }
}

variable "base" {
  type        = string
  default     = "debian:12-slim"
  description = "The image to start from, also one that only this machine has (with pull = false)."
  validation {
    condition     = var.base != "" && regex_replace(var.base, "^[^@\\s]+$", "") == ""
    error_message = "The base is an image as in debian:12-slim; its digest goes into the variable digest."
  }
}

variable "digest" {
  type        = string
  default     = ""
  description = "The base's digest, sha256:...: every build then starts from the same bytes. Empty: what the tag means today."
  validation {
    condition     = regex_replace(var.digest, "^sha256:[0-9a-f]{64}$", "") == ""
    error_message = "The digest is sha256: and 64 hexadecimal digits, or empty."
  }
}

variable "pull" {
  type        = bool
  default     = true
  description = "Pull the base first; false for an image that only this machine has."
}

variable "network" {
  type        = string
  default     = "bridge"
  description = "The network that provision.sh reaches the package mirror by: bridge, or host."
  validation {
    condition     = var.network != "" && regex_replace(var.network, "^[A-Za-z0-9][A-Za-z0-9_.-]*$", "") == ""
    error_message = "The network is bridge, host, or one of Docker's by name."
  }
}

variable "storage" {
  type        = string
  default     = ""
  description = "Where the template goes: PATH, ID=PATH or proxmox:NODE/STORAGE. Empty: the folder storage beside this file."
}

variable "version" {
  type        = string
  default     = "next"
  description = "The template's version: next, or vN."
  validation {
    condition     = var.version != "" && regex_replace(var.version, "^(next|v[1-9][0-9]*)$", "") == ""
    error_message = "The version is next, or v and a number as in v4."
  }
}

variable "if_changed" {
  type        = bool
  default     = false
  description = "Publish nothing where the newest version has the same content."
}

variable "format" {
  type        = string
  default     = "zst"
  description = "The compression: zst, gz, xz, or tar for none. The file ends in .tar.zst, .tar.gz, .tar.xz or .tar."
  validation {
    condition     = contains(["zst", "gz", "xz", "tar"], var.format)
    error_message = "The format is zst, gz, xz or tar."
  }
}

variable "pattern" {
  type        = string
  default     = "{name}-{version}"
  description = "The file's name, as in debian-12-lxc-rootfs-{version}; the ending comes from the format."
  validation {
    condition     = regex_replace(var.pattern, "{(version|timestamp|digest)}", "") != var.pattern
    error_message = "The pattern has {version}, {timestamp} or {digest}: a published name never changes its content."
  }
}

variable "source_date_epoch" {
  type        = string
  default     = env("SOURCE_DATE_EPOCH")
  description = "Seconds since 1970 for what is made while provisioning, such as the dates in /etc/shadow."
  validation {
    condition     = regex_replace(var.source_date_epoch, "^[0-9]*$", "") == ""
    error_message = "The time is a number of seconds, or empty."
  }
}

locals {
  image   = var.digest != "" ? "${var.base}@${var.digest}" : var.base
  storage = var.storage != "" ? var.storage : "${path.root}/storage"
  output  = "${path.root}/output"
}

source "docker" "rootfs" {
  image       = local.image
  pull        = var.pull
  export_path = "${local.output}/rootfs.tar"
  run_command = ["-d", "-i", "-t", "--network", var.network, "--entrypoint", "/bin/sh", "--", "{{ .Image }}"]
}

build {
  sources = ["source.docker.rootfs"]

  provisioner "shell" {
    script           = "${path.root}/provision.sh"
    environment_vars = var.source_date_epoch != "" ? ["SOURCE_DATE_EPOCH=${var.source_date_epoch}"] : []
  }

  post-processors {
    post-processor "lxcast" {
      template_name = var.name
      storage       = local.storage
      version       = var.version
      format        = var.format
      pattern       = var.pattern
      policy        = "golden"
      if_changed    = var.if_changed
      record_file   = "${local.output}/receipt.json"
    }

    post-processor "manifest" {
      output = "${local.output}/manifest.json"
      custom_data = {
        sha256 = try(build.TemplateSha256, "")
      }
    }
  }
}
