# module.web.template_version module.db.images[0].version module.db.images[1].labels.tier
module "web" {
  source           = "../../modules/lxc-container"
  count            = var.web_count
  name             = format("web-%02d", count.index)
  template_version = @module.web.template_version@"v3"
  providers        = { proxmox = proxmox.pve1 }
}

module "db" {
  source = "git::https://example.test/modules.git//lxc?ref=v1.2.0"

  images = [
    {
      name    = "postgres"
      version = @module.db.images[0].version@"v7" # tested with 16.2
    },
    {
      name = "pgbouncer", version = "v7"
      labels = { tier = @module.db.images[1].labels.tier@"proxy" }
    },
  ]

  depends_on = [module.web]
}
