terraform {
  required_version = ">= 1.5"

  required_providers {
    external = {
      source  = "hashicorp/external"
      version = ">= 1.2.0, < 3.0.0"
    }
    proxmox = {
      source  = "bpg/proxmox"
      version = ">= 0.111.0, < 1.0"
    }
  }
}
