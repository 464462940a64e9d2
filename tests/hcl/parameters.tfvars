# lxc_template environments.prod.template.id
# Production. Reviewed by operations.
region       = "eu-1"
lxc_template = @lxc_template@"pve-nfs:vztmpl/debian-12-v3.tar.zst"
replicas     = 3
enabled      = true

environments = {
  "stage" = {
    template = { id = "pve-nfs:vztmpl/debian-12-v4.tar.zst" }
  }
  "prod" = {
    template = {
      id   = @environments.prod.template.id@"pve-nfs:vztmpl/debian-12-v3.tar.zst"
      tags = ["golden", "debian"]
    }
  }
}
