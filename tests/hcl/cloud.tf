# terraform.backend.s3.key resource.local_file.inventory.filename local.images.ubuntu
terraform {
  backend "s3" {
    bucket = "state"
    key    = @terraform.backend.s3.key@"prod/terraform.tfstate"
  }
}

locals {
  images = {
    debian = "v1", ubuntu = @local.images.ubuntu@"v2", # both tested
    alpine = "v3",
  }
  all = concat([for name, v in local.images : "${name}-${v}"], ["extra"])
}

resource "local_file" "inventory" {
  filename = @resource.local_file.inventory.filename@"inventory.ini"
  content  = <<EOF
[web]
%{ for name, v in local.images ~}
${name} version="${v}"
%{ endfor ~}
EOF

  provisioner "local-exec" {
    command     = "ansible-playbook -i '${self.filename}' site.yml"
    interpreter = ["/bin/bash", "-c"]
    environment = {
      ANSIBLE_HOST_KEY_CHECKING = "False"
    }
  }

  dynamic "setting" {
    for_each = { a = 1 }
    iterator = each_setting
    content {
      name = each_setting.key
    }
  }
}

moved {
  from = local_file.old
  to   = local_file.inventory
}
