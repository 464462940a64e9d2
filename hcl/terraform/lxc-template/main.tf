locals {
  result = data.external.template.result

  # Proxmox refuses a download whose suffix differs, so the file keeps its published name.
  download    = var.source_url == null ? 0 : 1
  url         = var.source_url == null ? "" : endswith(var.source_url, "/") ? "${var.source_url}${local.result.file}" : var.source_url
  datastore   = var.source_url == null ? local.result.storage : coalesce(var.datastore_id, local.result.storage)
  template_id = "${local.datastore}:vztmpl/${local.result.file}"
  warnings    = jsondecode(local.result.warnings)
}

# Nothing here may depend on a resource that does not exist yet: the query would be unknown, Terraform would read it
# during apply, and plan to replace every container that is created from its result.
data "external" "template" {
  program = var.program
  query = { for key, value in {
    name     = var.name
    variant  = var.variant
    version  = var.template_version
    pin_file = var.pin_file
    storage  = var.storage
    verify   = var.verify
  } : key => value if value != null }

  lifecycle {
    postcondition {
      condition     = var.sha256 == null ? true : self.result.sha256 == var.sha256
      error_message = "${var.name} ${self.result.version} has sha256 ${self.result.sha256}, expected ${coalesce(var.sha256, "none")}. Find out which of them is right: a published name never changes its bytes."
    }
  }
}

check "warnings" {
  assert {
    condition     = length(local.warnings) == 0
    error_message = join("\n", concat(local.warnings, [""]))
  }
}

check "age" {
  assert {
    condition     = var.max_age_days == null || local.result.created != ""
    error_message = "The age of ${local.template_id} is unknown because only the pin was read. Set storage to a directory, or remove max_age_days."
  }

  assert {
    condition     = var.max_age_days == null || local.result.created == "" ? true : timecmp(timeadd(local.result.created, "${var.max_age_days * 24}h"), plantimestamp()) > 0
    error_message = "${local.template_id} was built on ${local.result.created}, more than ${coalesce(var.max_age_days, 0)} days ago. Build and promote a new version."
  }
}

resource "proxmox_download_file" "template" {
  count = local.download

  node_name          = var.node_name
  datastore_id       = local.datastore
  content_type       = "vztmpl"
  url                = local.url
  file_name          = local.result.file
  checksum           = local.result.sha256
  checksum_algorithm = "sha256"

  # A published name never changes its bytes: the URL need not be checked again.
  overwrite = false

  lifecycle {
    precondition {
      condition     = var.node_name != null
      error_message = "source_url needs node_name, the node that downloads the file."
    }
  }
}
