# The id is put together from what is known in the plan, and not taken from the download: a download that is planned anew
# would make it unknown, and so replace the containers.
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
  description = "What the module lxc-container takes as `template`."
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
  description = "The data source's whole answer, each value a string."
}

output "warnings" {
  value       = local.warnings
  description = "What the data source warns of."
}
