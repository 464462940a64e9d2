# Debian 12 with systemd and SSH as a Proxmox container template.
#
#   Packer 1.7 and newer:  packer init .  &&  packer build .
#   Packer 1.6:            packer build packer.pkr.hcl       (plugins.pkr.hcl is not read)

variable "name" {
  type        = string
  default     = "debian-12"
  description = "The template's name: the file becomes NAME-vN.tar.zst."
}

variable "base" {
  type        = string
  default     = "debian:12"
  description = "The image to start from; IMAGE@sha256:... starts every build from the same bytes."
}

variable "pull" {
  type        = bool
  default     = true
  description = "Pull the base image first; false for one that only this machine has."
}

variable "network" {
  type        = string
  default     = "bridge"
  description = "The network that provision.sh reaches the Debian mirror by: bridge, or host."
}

variable "storage" {
  type        = string
  default     = ""
  description = "Where the template goes: PATH, ID=PATH or proxmox:NODE/STORAGE. Unsaid: the folder storage beside this file."
}

variable "version" {
  type        = string
  default     = "next"
  description = "The template's version: next, or vN."
}

variable "if_changed" {
  type        = bool
  default     = false
  description = "Publish nothing where the newest version has the same content."
}

variable "source_date_epoch" {
  type        = string
  default     = env("SOURCE_DATE_EPOCH")
  description = "Seconds since 1970 for what is made while provisioning, such as the dates in /etc/shadow."
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
    # These values stand in the process list while the post-processor runs: a secret comes from the environment that
    # Packer itself was started in.
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

    # shell-local hands on the artifact that it got; from here on the artifact is the template. Packer evaluates a
    # post-processor just before it runs: the receipt is there by then, and not yet when the template is validated.
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

  # Packer deletes the docker builder's artifact when a post-processor fails, unless a chain of its own keeps it.
  post-processor "manifest" {
    output = "${path.root}/output/rootfs.json"
  }
}
