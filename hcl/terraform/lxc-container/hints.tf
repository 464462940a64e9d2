# What the template's record suggests, where nothing is said.
locals {
  # A record always says whether it runs unprivileged: where that is unsaid, the pin was written without hints.
  nesting  = coalesce(var.nesting, local.hints.nesting, local.hints.unprivileged == null)
  fuse     = coalesce(var.fuse, contains(local.hints.features, "fuse=1"))
  hostname = var.hostname == null ? local.hints.hostname : var.hostname
  console  = var.console == null ? local.hints.cmode : var.console

  folders = [for each in local.hints.mounts : {
    path      = each.destination
    volume    = each.source
    size      = null
    read_only = contains(each.options, "ro")
    backup    = false
  } if startswith(each.source, "/") && length(setintersection(["bind", "rbind"], concat(each.options, [each.type]))) > 0]
  mount_points = var.mount_points == null ? local.folders : var.mount_points

  # Of an OCI archive Proxmox reads the process itself.
  app = local.hints.init == "app" && local.template.format != "oci-archive"

  # LXC takes what a pair of quotes encloses for one word, and knows no escapes.
  words = [for word in concat(local.hints.entrypoint, local.hints.cmd) :
    can(regex("^[^ \"'][^ ]*$", word)) ? word : can(regex("\"", word)) ? "'${word}'" : "\"${word}\""
  ]
  entrypoint = var.entrypoint != null ? var.entrypoint : local.app ? join(" ", local.words) : null

  user = "${coalesce(local.hints.uid, 0)}:${coalesce(local.hints.gid, 0)}"

  # Of a name that is there twice the last one counts.
  env         = { for each in local.app ? local.hints.env : [] : split("=", each)[0] => try(regex("(?s)=(.*)", each)[0], "")... }
  environment = merge({ for name, values in local.env : name => reverse(values)[0] if reverse(values)[0] != "***" }, var.environment)
  # Which variables there are is no secret, though their values may be.
  known  = try(nonsensitive(keys(local.environment)), keys(local.environment))
  hidden = [for name, values in local.env : name if !contains(local.known, name)]
}
