"""What Packer runs behind the docker builder: the plugin `post-processor "lxcast"`, and a command for `shell-local`."""
