variable "name" {
  type        = string
  description = "The name that the template was built with."
}

variable "variant" {
  type        = string
  default     = null
  description = "The variant that the template was built with. Required if the name has several; an empty string is the template without one."
}

variable "template_version" {
  type        = string
  default     = null
  description = "`vN`, compared with the pin or looked up in the storage. `latest` follows the newest in a storage, with a warning. Default: the pinned version."
}

variable "sha256" {
  type        = string
  default     = null
  description = "The expected digest of the template. Default: the digest of the pin or record."

  validation {
    condition     = var.sha256 == null || can(regex("^[0-9a-f]{64}$", var.sha256))
    error_message = "sha256 must be 64 hexadecimal digits in lower case."
  }
}

variable "pin_file" {
  type        = string
  default     = null
  description = "The pin file. Default: `templates.auto.tfvars.json` in the directory where Terraform runs."
}

variable "storage" {
  type        = string
  default     = null
  description = "A directory, `PATH` or `ID=PATH`, whose record is read and which must have the template; or `proxmox:NODE/STORAGE`, whose API confirms the pin. Default: only the pin is read."
}

variable "verify" {
  type        = string
  default     = null
  description = "`pin` reads only the pin even if `storage` is set, for when that is unreachable; `storage` requires one."
}

variable "program" {
  type        = list(string)
  default     = ["lxcast-data"]
  description = "The command of the data source."
}

variable "max_age_days" {
  type        = number
  default     = null
  description = "Warn if the template is older. Only a record holds the age, so `storage` must be a directory."
}

variable "source_url" {
  type        = string
  default     = null
  description = "The URL from which `node_name` downloads the file, verified by its sha256; the file's name is added after a trailing slash. Default: the file is on the storage already."
}

variable "node_name" {
  type        = string
  default     = null
  description = "The node that downloads from `source_url`."
}

variable "datastore_id" {
  type        = string
  default     = null
  description = "The storage for the download. Default: the storage of the template's id."
}
