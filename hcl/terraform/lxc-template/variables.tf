variable "name" {
  type        = string
  description = "The name that the template was built with."
}

variable "template_version" {
  type        = string
  default     = null
  description = "`vN`, which the pin must have, or which the storage is asked for. `latest` follows the newest of a storage and is warned of. Unsaid: the pin names it."
}

variable "sha256" {
  type        = string
  default     = null
  description = "The digest that the template must have. Unsaid: what the pin or the record tells."

  validation {
    condition     = var.sha256 == null || can(regex("^[0-9a-f]{64}$", var.sha256))
    error_message = "It is not 64 hexadecimal digits in lower case."
  }
}

variable "pin_file" {
  type        = string
  default     = null
  description = "The file that pins the template. Unsaid: `templates.auto.tfvars.json` where Terraform runs."
}

variable "storage" {
  type        = string
  default     = null
  description = "A folder, `PATH` or `ID=PATH`, whose record answers and which must have the template; or `proxmox:NODE/STORAGE`, whose API confirms the pin. Unsaid: the pin alone answers."
}

variable "verify" {
  type        = string
  default     = null
  description = "`pin` answers from the pin alone though `storage` is given, as when that is out of reach; `storage` insists on one."
}

variable "program" {
  type        = list(string)
  default     = ["lxcast-data"]
  description = "How the data source is called."
}

variable "max_age_days" {
  type        = number
  default     = null
  description = "Warn where the template is older than that. Only a record tells the age, so a folder is needed as `storage`."
}

variable "source_url" {
  type        = string
  default     = null
  description = "Where `node_name` downloads the file from, checked by its sha256; ending in a slash, the file's name is added. Unsaid: it lies on the storage already."
}

variable "node_name" {
  type        = string
  default     = null
  description = "The node that downloads from `source_url`."
}

variable "datastore_id" {
  type        = string
  default     = null
  description = "The storage that the download goes to. Unsaid: the one of the template's id."
}
