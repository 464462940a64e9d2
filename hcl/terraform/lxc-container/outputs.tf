output "vm_id" {
  value       = proxmox_virtual_environment_container.container.vm_id
  description = "The container's id."
}

output "ipv4" {
  value       = proxmox_virtual_environment_container.container.ipv4
  description = "The IPv4 addresses by interface."
}

output "ipv6" {
  value       = proxmox_virtual_environment_container.container.ipv6
  description = "The IPv6 addresses by interface."
}

output "template_id" {
  value       = local.template.template_id
  description = "The template that the container was created from."
}
