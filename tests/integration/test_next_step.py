"""The HCL that `lxcast build` prints is what the provider takes."""

from dataclasses import replace
from pathlib import Path

from lxcast.containers.render import next_step
from tests.integration.tools import Program
from tests.unit.containers.test_render import PATH, PROGRAM, RECORD, resources

PROVIDERS = """\
terraform {
  required_providers {
    proxmox  = { source = "bpg/proxmox" }
    external = { source = "hashicorp/external" }
  }
}

"""


def test_the_provider_takes_every_setting(terraform_like: Program, tmp_path: Path) -> None:
    text = resources(next_step(replace(RECORD, hints=PROGRAM), PATH)).partition("\n\nbefore its")[0]
    (tmp_path / "main.tf").write_text(f"{PROVIDERS}{text}\n")
    terraform_like.run(f"-chdir={tmp_path}", "init")
    terraform_like.run(f"-chdir={tmp_path}", "validate")
    terraform_like.run(f"-chdir={tmp_path}", "fmt", "-check", "-diff")
