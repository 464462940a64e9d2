"""The command that Packer's shell-local post-processor runs after the docker builder: a build of the template."""
