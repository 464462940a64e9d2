# Debian 12 with systemd and SSH as a Proxmox container template.
#
#   Packer 1.7 and later:  packer init . && packer build .
#   Packer 1.6:            packer build packer.pkr.hcl      (it cannot read plugins.pkr.hcl)

variable "name" {
  type        = string
  default     = "debian-12"
  description = "The template's name. The file is NAME-vN.tar.zst."
}

variable "base" {
  type        = string
  default     = "debian:12"
  description = "The image to start from. With IMAGE@sha256:..., every build starts from the same bytes."
}

variable "pull" {
  type        = bool
  default     = true
  description = "Pull the base image first. Set it to false for an image that only this machine has."
}

variable "network" {
  type        = string
  default     = "bridge"
  description = "The container's network, through which provision.sh reaches the Debian mirror: bridge, or host."
}

variable "storage" {
  type        = string
  default     = ""
  description = "Where the template goes: PATH, ID=PATH or proxmox:NODE/STORAGE. Default: the directory storage next to this file."
}

variable "version" {
  type        = string
  default     = "next"
  description = "The template's version: next, or vN."
}

variable "if_changed" {
  type        = bool
  default     = false
  description = "Publish nothing if the newest version has the same content."
}

variable "source_date_epoch" {
  type        = string
  default     = env("SOURCE_DATE_EPOCH")
  description = "The time, in seconds since 1970, for files that provisioning creates, such as the dates in /etc/shadow."
}

locals {
  storage = var.storage != "" ? var.storage : "${path.root}/storage"
  rootfs  = "${path.root}/output/rootfs.tar"
  receipt = "${path.root}/output/receipt.json"
}

source "docker" "rootfs" {
  image       = var.base
  pull        = var.pull
  export_path = local.rootfs
  run_command = ["-d", "-i", "-t", "--network", var.network, "--entrypoint", "/bin/sh", "--", "{{ .Image }}"]
}

build {
  sources = ["source.docker.rootfs"]

  provisioner "shell" {
    script           = "${path.root}/provision.sh"
    environment_vars = var.source_date_epoch != "" ? ["SOURCE_DATE_EPOCH=${var.source_date_epoch}"] : []
  }

  post-processors {
    # The process list shows these values while the post-processor runs. Set secrets in the environment that Packer
    # starts in.
    post-processor "shell-local" {
      environment_vars = [
        "LXCAST_SOURCE=${local.rootfs}",
        "LXCAST_NAME=${var.name}",
        "LXCAST_VERSION=${var.version}",
        "LXCAST_STORAGE=${local.storage}",
        "LXCAST_IF_CHANGED=${var.if_changed}",
        "LXCAST_POLICY=golden",
        "LXCAST_RECEIPT=${local.receipt}",
      ]
      inline = ["exec lxcast-packer"]
    }

    # shell-local passes on the artifact that it got; artifice replaces it with the template. Packer evaluates a
    # post-processor just before it runs, so the receipt exists then, but not when the template is validated.
    post-processor "artifice" {
      files               = try([jsondecode(file(local.receipt)).path], [local.receipt])
      keep_input_artifact = true
    }

    post-processor "manifest" {
      output = "${path.root}/output/manifest.json"
      custom_data = {
        template_id = try(jsondecode(file(local.receipt)).template_id, "")
        sha256      = try(jsondecode(file(local.receipt)).sha256, "")
      }
    }
  }

  # When a post-processor fails, Packer deletes the docker builder's artifact unless a separate chain keeps it.
  post-processor "manifest" {
    output = "${path.root}/output/rootfs.json"
  }
}
