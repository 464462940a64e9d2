# The id is computed from values known in the plan, not taken from the download: a newly planned download would make it
# unknown, and thus replace the containers.
output "template_id" {
  value       = local.template_id
  description = "The volid: `template_file_id` of bpg/proxmox, `ostemplate` of Telmate's provider."
  depends_on  = [proxmox_download_file.template]
}

output "template" {
  value = {
    template_id = local.template_id
    ostype      = local.result.ostype
    arch        = local.result.arch
    format      = local.result.format
    hints       = jsondecode(local.result.hints)
  }
  description = "The value for `template` of the module lxc-container."
  depends_on  = [proxmox_download_file.template]
}

output "template_version" {
  value       = local.result.version
  description = "The version in use, `latest` resolved."
}

output "sha256" {
  value       = local.result.sha256
  description = "The digest of the file."
}

output "result" {
  value       = local.result
  description = "The complete result of the data source; each value is a string."
}

output "warnings" {
  value       = local.warnings
  description = "Warnings of the data source."
}
