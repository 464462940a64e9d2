# local.base variable.version.default source.docker.debian.commit_text build.post-processors.post-processor.lxcast.storage
packer {
  required_plugins {
    docker = {
      version = ">= 1.0.0"
      source  = "github.com/hashicorp/docker"
    }
  }
}

variable "version" {
  type    = string
  default = @variable.version.default@"v3"
}

local "base" {
  expression = @local.base@"debian:12"
}

locals {
  stamp = formatdate("YYYYMMDD", timestamp())
  name  = "debian-12-${var.version}-${local.stamp}"
}

source "docker" "debian" {
  image       = local.base
  commit_text = @source.docker.debian.commit_text@"no"
  run_command = ["-d", "-i", "-t", "--entrypoint=/bin/bash", "{{.Image}}"]
}

build {
  name    = "debian-12"
  sources = ["source.docker.debian"]

  provisioner "shell" {
    inline = ["apt-get update", "apt-get install -y --no-install-recommends openssh-server"]
    only   = ["docker.debian"]
  }

  post-processors {
    post-processor "lxcast" {
      storage = @build.post-processors.post-processor.lxcast.storage@"pve-nfs=/mnt/pve/pve-nfs"
    }
  }
}
