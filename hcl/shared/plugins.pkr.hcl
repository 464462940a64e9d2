# The docker builder is a plugin of its own since Packer 1.10. Packer 1.6 does not know this block.
packer {
  required_plugins {
    docker = {
      source  = "github.com/hashicorp/docker"
      version = ">= 1.0.0"
    }
  }
}
