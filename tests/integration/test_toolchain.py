"""The programs that other integration tests rely on do what they are installed for."""

import json
import tarfile
from pathlib import Path

from tests.integration.tools import Program

DATA_SOURCE = """
terraform {
  required_providers {
    external = { source = "hashicorp/external" }
  }
}
data "external" "answer" {
  program = ["python3", "-c", "import json, sys; print(json.dumps({'said': json.load(sys.stdin)['say']}))"]
  query   = { say = "a volid" }
}
output "said" {
  value = data.external.answer.result.said
}
"""

DOCKER_BUILD = """
source "docker" "base" {
  image       = "%s"
  pull        = false
  export_path = "rootfs.tar"
}
build {
  sources = ["source.docker.base"]
  provisioner "shell" {
    inline = ["echo here > /provisioned"]
  }
}
"""


def test_the_service_image_is_what_the_benchmark_promises(service_export: Path) -> None:
    total = dropped = 0
    with tarfile.open(service_export) as archive:
        for member in archive:
            total += member.size
            dropped += member.size if member.name.startswith(("var/lib/apt/lists/", "var/cache/")) else 0
    assert total >= 300_000_000
    assert 0.50 <= dropped / total <= 0.60


def test_each_packer_builds_and_exports_with_the_docker_builder(
    packer: Program, base_image: str, tmp_path: Path
) -> None:
    (tmp_path / "build.pkr.hcl").write_text(DOCKER_BUILD % base_image)
    packer.run("build", ".", cwd=tmp_path)
    with tarfile.open(tmp_path / "rootfs.tar") as archive:
        assert "provisioned" in archive.getnames()


def test_each_terraform_runs_the_real_external_provider(terraform_like: Program, tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(DATA_SOURCE)
    terraform_like.run("init", cwd=tmp_path)
    terraform_like.run("apply", "-auto-approve", cwd=tmp_path)
    assert json.loads(terraform_like.run("output", "-json", cwd=tmp_path).stdout)["said"]["value"] == "a volid"
