# Alpine with OpenRC and SSH as a golden Proxmox container template.
#
#   Packer 1.7 and later:  packer init . && packer build .
#   Packer 1.6:            packer build packer.pkr.hcl      (it cannot read plugins.pkr.hcl)

variable "name" {
  type        = string
  default     = "alpine"
  description = "The template's name."
  validation {
    condition     = var.name != "" && regex_replace(var.name, "^[a-z0-9][a-z0-9.-]*$", "") == ""
    error_message = "The name must consist of lower-case letters, digits, dots and hyphens, such as alpine."
  }
}

variable "base" {
  type        = string
  default     = "alpine:3.22"
  description = "The image to start from. It can be one that only this machine has (with pull = false)."
  validation {
    condition     = var.base != "" && regex_replace(var.base, "^[^@\\s]+$", "") == ""
    error_message = "The base must be an image without a digest, such as alpine:3.22; set its digest with the variable digest."
  }
}

variable "digest" {
  type        = string
  default     = ""
  description = "The base's digest, sha256:..., so that every build starts from the same bytes. Empty: the tag's current image."
  validation {
    condition     = regex_replace(var.digest, "^sha256:[0-9a-f]{64}$", "") == ""
    error_message = "The digest must be sha256: and 64 hexadecimal digits, or empty."
  }
}

variable "pull" {
  type        = bool
  default     = true
  description = "Pull the base first. Set it to false for an image that only this machine has."
}

variable "network" {
  type        = string
  default     = "bridge"
  description = "The container's network, through which provision.sh reaches the package mirror: bridge, or host."
  validation {
    condition     = var.network != "" && regex_replace(var.network, "^[A-Za-z0-9][A-Za-z0-9_.-]*$", "") == ""
    error_message = "The network must be bridge, host, or the name of a Docker network."
  }
}

variable "storage" {
  type        = string
  default     = ""
  description = "Where the template goes: PATH, ID=PATH or proxmox:NODE/STORAGE. Empty: the directory storage next to this file."
}

variable "version" {
  type        = string
  default     = "next"
  description = "The template's version: next, or vN."
  validation {
    condition     = var.version != "" && regex_replace(var.version, "^(next|v[1-9][0-9]*)$", "") == ""
    error_message = "The version must be next, or v and a number, such as v4."
  }
}

variable "if_changed" {
  type        = bool
  default     = false
  description = "Publish nothing if the newest version has the same content."
}

variable "format" {
  type        = string
  default     = "zst"
  description = "The compression: zst, gz, xz, or tar for none. The file name ends in .tar.zst, .tar.gz, .tar.xz or .tar."
  validation {
    condition     = contains(["zst", "gz", "xz", "tar"], var.format)
    error_message = "The format must be zst, gz, xz or tar."
  }
}

variable "pattern" {
  type        = string
  default     = "{name}-{version}"
  description = "The file's name, such as alpine-lxc-rootfs-{version}. The format adds the ending."
  validation {
    condition     = regex_replace(var.pattern, "{(version|timestamp|digest)}", "") != var.pattern
    error_message = "The pattern must contain {version}, {timestamp} or {digest}, because a published name never changes its content."
  }
}

variable "source_date_epoch" {
  type        = string
  default     = env("SOURCE_DATE_EPOCH")
  description = "The time, in seconds since 1970, for files that provisioning creates, such as the dates in /etc/shadow."
  validation {
    condition     = regex_replace(var.source_date_epoch, "^[0-9]*$", "") == ""
    error_message = "The time must be a number of seconds, or empty."
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
