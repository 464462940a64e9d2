# Defaults from the template's record.
locals {
  # Every record has the hint `unprivileged`: without it, the pin was written without hints.
  nesting  = coalesce(var.nesting, local.hints.nesting, local.hints.unprivileged == null)
  fuse     = coalesce(var.fuse, contains(local.hints.features, "fuse=1"))
  hostname = var.hostname == null ? local.hints.hostname : var.hostname
  console  = var.console == null ? local.hints.cmode : var.console

  directories = [for each in local.hints.mounts : {
    path      = each.destination
    volume    = each.source
    size      = null
    read_only = contains(each.options, "ro")
    backup    = false
  } if startswith(each.source, "/") && length(setintersection(["bind", "rbind"], concat(each.options, [each.type]))) > 0]
  mount_points = var.mount_points == null ? local.directories : var.mount_points

  # Proxmox reads the process of an OCI archive itself. It is repeated here because the provider would remove what is not
  # configured.
  image = local.template.format == "oci-archive"
  app   = local.hints.init == "app" && !local.image

  # LXC takes a pair of quotes as one word, and has no escapes.
  words = [for word in concat(local.hints.entrypoint, local.hints.cmd) :
    can(regex("^[^ \"'][^ ]*$", word)) ? word : can(regex("\"", word)) ? "'${word}'" : "\"${word}\""
  ]
  entrypoint = var.entrypoint != null ? var.entrypoint : local.app || (local.image && length(local.words) > 0) ? join(" ", local.words) : null

  user = "${coalesce(local.hints.uid, 0)}:${coalesce(local.hints.gid, 0)}"

  # The last value of a repeated name counts.
  env         = { for each in local.app || local.image ? local.hints.env : [] : split("=", each)[0] => try(regex("(?s)=(.*)", each)[0], "")... }
  environment = merge({ for name, values in local.env : name => reverse(values)[0] if reverse(values)[0] != "***" }, var.environment)
  given_names = try(nonsensitive(keys(var.environment)), keys(var.environment))

  # The names of the variables are not secret, though their values may be.
  known  = try(nonsensitive(keys(local.environment)), keys(local.environment))
  hidden = [for name, values in local.env : name if !contains(local.known, name)]
}
