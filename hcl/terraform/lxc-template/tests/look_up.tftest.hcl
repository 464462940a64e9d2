# What becomes of an answer; no program is run, and no node is called.

mock_provider "proxmox" {}

override_data {
  target = data.external.template
  values = {
    result = {
      template_id = "local:vztmpl/debian-12-v4.tar.zst"
      version     = "v4"
      sha256      = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      storage     = "local"
      file        = "debian-12-v4.tar.zst"
      ostype      = "debian"
      arch        = "amd64"
      format      = "zst"
      created     = "2020-01-01T00:00:00Z"
      hints       = "{\"disk_gb\":6,\"nesting\":true,\"unprivileged\":true}"
      warnings    = "[]"
    }
  }
}

variables {
  name = "debian-12"
}

run "outputs" {
  command = plan

  assert {
    condition     = output.template_id == "local:vztmpl/debian-12-v4.tar.zst"
    error_message = "the id is ${output.template_id}"
  }

  assert {
    condition     = output.template.hints.disk_gb == 6 && output.template.ostype == "debian" && output.template.format == "zst"
    error_message = "the record's hints, ostype and format are not passed on"
  }

  assert {
    condition     = length(proxmox_download_file.template) == 0
    error_message = "nothing is to be downloaded"
  }
}

run "another_digest" {
  command = plan

  variables {
    sha256 = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
  }

  expect_failures = [data.external.template]
}

run "the_digest" {
  command = plan

  variables {
    sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  }
}

run "no_digest" {
  command = plan

  variables {
    sha256 = "sha256:aaaa"
  }

  expect_failures = [var.sha256]
}

run "too_old" {
  command = plan

  variables {
    max_age_days = 30
  }

  expect_failures = [check.age]
}

run "old_and_allowed" {
  command = plan

  variables {
    max_age_days = 36500
  }
}

run "age_unknown" {
  command = plan

  variables {
    max_age_days = 30
  }

  override_data {
    target = data.external.template
    values = {
      result = {
        version  = "v4"
        sha256   = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        storage  = "local"
        file     = "debian-12-v4.tar.zst"
        ostype   = "debian"
        arch     = "amd64"
        format   = "zst"
        created  = ""
        hints    = "{}"
        warnings = "[]"
      }
    }
  }

  expect_failures = [check.age]
}

run "latest_is_warned_of" {
  command = plan

  override_data {
    target = data.external.template
    values = {
      result = {
        version  = "v4"
        sha256   = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        storage  = "local"
        file     = "debian-12-v4.tar.zst"
        ostype   = "debian"
        arch     = "amd64"
        format   = "zst"
        created  = "2020-01-01T00:00:00Z"
        hints    = "{}"
        warnings = "[\"version = latest gave debian-12-v4.tar.zst\"]"
      }
    }
  }

  expect_failures = [check.warnings]
}

run "download" {
  command = plan

  variables {
    source_url   = "https://example.org/releases/"
    node_name    = "pve1"
    datastore_id = "pve-nfs"
  }

  assert {
    condition     = proxmox_download_file.template[0].url == "https://example.org/releases/debian-12-v4.tar.zst"
    error_message = "the URL is ${proxmox_download_file.template[0].url}"
  }

  assert {
    condition     = proxmox_download_file.template[0].checksum == output.sha256 && proxmox_download_file.template[0].checksum_algorithm == "sha256"
    error_message = "the download is not checked"
  }

  assert {
    condition     = output.template_id == "pve-nfs:vztmpl/debian-12-v4.tar.zst"
    error_message = "the id is ${output.template_id}"
  }
}

run "download_without_a_node" {
  command = plan

  variables {
    source_url = "https://example.org/debian.tar.zst"
    node_name  = null
  }

  expect_failures = [proxmox_download_file.template]
}
