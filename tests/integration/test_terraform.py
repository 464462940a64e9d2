"""The data source run by the real provider: what Terraform and OpenTofu make of its answers and its refusals."""

import json
import shutil
from pathlib import Path

import pytest

from lxcast.jobs.promote import write_pin
from lxcast.settings import storage_options
from tests.integration.tools import REPOSITORY, Program
from tests.published import publish


class Workspace:
    """Terraform or OpenTofu in one folder."""

    def __init__(self, program: Program, folder: Path, commands: Path) -> None:
        self.folder = folder
        self.program = program
        self.path = {"PATH": f"{commands}:/usr/bin:/bin"}
        self.run("init", "-input=false")

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run a command and return all that it printed; with check=False it must fail."""
        done = self.program.run(*arguments, "-no-color", cwd=self.folder, env=self.path, check=check)
        assert check or done.returncode != 0
        return done.stdout + done.stderr

    def outputs(self) -> dict[str, str | list[str] | list[int]]:
        """The output values."""
        done = self.program.run("output", "-json", cwd=self.folder, env=self.path)
        return {key: each["value"] for key, each in json.loads(done.stdout).items()}


@pytest.fixture
def terraform(terraform_like: Program, commands: Path, tmp_path: Path) -> Workspace:
    """The example's Terraform folder beside a storage with versions 1 to 3, and the data source on PATH."""
    shutil.copytree(REPOSITORY / "examples/debian-12/terraform", tmp_path / "terraform")
    for number in (1, 2, 3):
        publish(tmp_path / "storage", "debian-12", number)
    return Workspace(terraform_like, tmp_path / "terraform", commands)


def test_the_example_prints_the_id_of_the_pinned_template(terraform: Workspace) -> None:
    terraform.run("apply", "-auto-approve", "-var", "template_version=v2")
    assert terraform.outputs() == {
        "template_id": "local:vztmpl/debian-12-v2.tar.zst",
        "template_sha256": "a" * 64,
    }
    # Exit status 2 would tell of a difference.
    terraform.run("plan", "-detailed-exitcode", "-var", "template_version=v2")


def test_many_data_sources_are_read_at_once(terraform: Workspace) -> None:
    (terraform.folder / "many.tf").write_text("""
        data "external" "many" {
          count   = 30
          program = ["lxcast-data"]
          query = {
            name    = "debian-12"
            version = count.index % 2 == 0 ? "latest" : "v1"
            storage = "pve-nfs=${path.module}/../storage"
          }
        }
        output "many" {
          value = data.external.many[*].result.template_id
        }
        output "warned" {
          value = [for each in data.external.many : length(jsondecode(each.result.warnings))]
        }
    """)
    terraform.run("apply", "-auto-approve")
    outputs = terraform.outputs()
    assert outputs["many"] == ["pve-nfs:vztmpl/debian-12-v3.tar.zst", "pve-nfs:vztmpl/debian-12-v1.tar.zst"] * 15
    assert outputs["warned"] == [1, 0] * 15


def test_a_refusal_is_shown_whole_and_no_secret_with_it(terraform: Workspace) -> None:
    (terraform.folder / "wrong.tf").write_text("""
        data "external" "wrong" {
          program = ["lxcast-data"]
          query = {
            name      = "debian-12"
            version   = "newest"
            api_token = "hunter2"
          }
        }
    """)
    shown = terraform.run("apply", "-auto-approve", check=False)
    for part in ("'api_token' looks like a secret", "version is 'newest'"):
        assert part in shown.replace("│ ", "")
    assert "hunter2" not in "".join(path.read_text() for path in terraform.folder.glob("*.tfstate*"))


def test_a_version_that_is_not_there_fails_the_plan(terraform: Workspace) -> None:
    assert "v1, v2, v3" in terraform.run("plan", "-var", "template_version=v9", check=False)


def test_a_pin_is_enough_while_the_storage_is_gone(terraform: Workspace) -> None:
    write_pin(
        "debian-12",
        "v2",
        storage_options(f"pve-nfs={terraform.folder.parent}/storage"),
        terraform.folder / "templates.tf.json",
    )
    shutil.rmtree(terraform.folder.parent / "storage")
    (terraform.folder / "main.tf").write_text("""
        data "external" "pinned" {
          program = ["lxcast-data"]
          query = {
            name     = "debian-12"
            pin_file = "${path.module}/templates.tf.json"
            sha256   = local.lxc_templates["debian-12"].sha256
          }
        }
        resource "terraform_data" "container" {
          triggers_replace = data.external.pinned.result.template_id
        }
        output "both" {
          value = [data.external.pinned.result.template_id, local.lxc_templates["debian-12"].template_id]
        }
    """)
    terraform.run("apply", "-auto-approve")
    assert terraform.outputs()["both"] == ["pve-nfs:vztmpl/debian-12-v2.tar.zst"] * 2
    terraform.run("plan", "-detailed-exitcode")
    terraform.run("destroy", "-auto-approve")
