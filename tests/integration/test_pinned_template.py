"""The pin file read by Terraform and OpenTofu through the module and the real providers, with no Proxmox in reach."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from lxcast.references.entries import DEFAULT
from tests.documents import blocks
from tests.integration.tools import REPOSITORY, Program, need_provider
from tests.published import pin, publish

HOW_TO = REPOSITORY / "docs" / "how-to" / "terraform-data-source.md"
MAIN = """
module "debian_12" {
  source = "./lxc-template"
  name   = "debian-12"
}

# Stands for what is made from the template.
resource "terraform_data" "web" {
  triggers_replace = module.debian_12.template_id
}

output "template_id" {
  value = module.debian_12.template_id
}

# Terraform warns of a variable that a file sets and nothing declares.
variable "lxc_templates" {
  type = any
}
"""


class Root:
    """A root module that has nothing but the pin file: no storage, and a server's address where nobody listens."""

    def __init__(self, terraform: Program, folder: Path, commands: Path) -> None:
        self.terraform = terraform
        self.folder = folder
        self.env = {
            "PATH": f"{commands}:/usr/bin:/bin",
            "PROXMOX_VE_ENDPOINT": "https://127.0.0.1:9",
            "PROXMOX_VE_API_TOKEN": "nobody@pve!none=00000000-0000-0000-0000-000000000000",
        }
        shutil.copytree(REPOSITORY / "hcl/terraform/lxc-template", folder / "lxc-template")
        self.write(MAIN)
        self.pin(4)
        self.run("init")

    def write(self, main: str) -> None:
        (self.folder / "main.tf").write_text(main)

    def pin(self, number: int) -> None:
        storage = self.folder / "gone"
        pin(self.folder / DEFAULT, publish(storage, "debian-12", number))
        shutil.rmtree(storage)

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run a command, which must end with that status, and return all that it printed in one line."""
        done = self.terraform.run(*arguments, "-no-color", cwd=self.folder, env=self.env, check=False)
        shown = " ".join((done.stdout + done.stderr).replace("│", " ").split())
        assert done.returncode == status, shown
        return shown


@pytest.fixture
def root(terraform_like: Program, tmp_path: Path, commands: Path) -> Root:
    need_provider("bpg/proxmox")
    return Root(terraform_like, tmp_path, commands)


def test_it_plans_applies_and_destroys_with_the_pin_alone(root: Root) -> None:
    shown = root.run("plan", "-detailed-exitcode", status=2)
    assert "local:vztmpl/debian-12-v4.tar.zst" in shown
    assert "Warning" not in shown
    root.run("apply", "-auto-approve")
    assert root.run("output", "-raw", "template_id") == "local:vztmpl/debian-12-v4.tar.zst"
    root.run("plan", "-detailed-exitcode")
    root.pin(5)
    assert "1 to add, 0 to change, 1 to destroy" in root.run("plan", "-detailed-exitcode", status=2)
    root.run("apply", "-auto-approve")
    assert "1 destroyed" in root.run("destroy", "-auto-approve")


def test_another_digest_fails_the_plan_and_is_shown(root: Root) -> None:
    root.write(MAIN.replace('"debian-12"\n}', f'"debian-12"\n  sha256 = "{"c" * 64}"\n}}'))
    shown = root.run("plan", status=1)
    assert "Resource postcondition failed" in shown
    assert "a" * 64 in shown
    assert "c" * 64 in shown


def test_a_refusal_is_shown_as_it_was_laid_out(root: Root) -> None:
    root.write(MAIN.replace('"debian-12"\n}', '"debian-12"\n  template_version = "v9"\n}'))
    assert "version is v9 in the query, v4 in" in root.run("plan", status=1)
    (root.folder / DEFAULT).unlink()
    root.write(MAIN.replace('variable "lxc_templates" {\n  type = any\n}', ""))
    assert "lxcast pin write debian-12" in root.run("plan", status=1)


def test_thirty_modules_read_one_pin_at_once(root: Root) -> None:
    root.write("""
        module "many" {
          count  = 30
          source = "./lxc-template"
          name   = "debian-12"
        }
        output "ids" {
          value = join(" ", distinct(module.many[*].template_id))
        }
        variable "lxc_templates" {
          type = any
        }
    """)
    root.run("init")
    root.run("apply", "-auto-approve")
    assert root.run("output", "-raw", "ids") == "local:vztmpl/debian-12-v4.tar.zst"
    root.run("plan", "-detailed-exitcode")


def test_a_query_that_is_not_known_yet_is_read_in_apply(root: Root) -> None:
    """Why the module warns of it: the second plan would replace what a change of the query leads to."""
    unknown = 'resource "terraform_data" "name" {\n  input = "debian-12"\n}\n'
    root.write(MAIN.replace('"debian-12"\n}', "terraform_data.name.output\n}") + unknown)
    assert "(config refers to values not yet known)" in root.run("plan", "-detailed-exitcode", status=2)
    root.run("apply", "-auto-approve")
    assert root.run("output", "-raw", "template_id") == "local:vztmpl/debian-12-v4.tar.zst"
    root.run("plan", "-detailed-exitcode")
    replaced = root.run("plan", "-detailed-exitcode", "-replace=terraform_data.name", status=2)
    assert "terraform_data.web must be replaced" in replaced


@pytest.mark.parametrize("file", ["pin-alone.tf", "data-source.tf"])
def test_the_two_ways_of_the_how_to_give_the_same_plan(root: Root, file: str) -> None:
    (text,) = (block.text for block in blocks(HOW_TO) if block.file == file)
    root.write(text)
    if file == "pin-alone.tf":
        root.env["PATH"] = "/usr/bin:/bin"
    del root.env["PROXMOX_VE_ENDPOINT"]
    root.run("init")
    shown = root.run("plan")
    assert 'template_file_id = "local:vztmpl/debian-12-v4.tar.zst"' in shown
    assert 'type = "debian"' in shown
    assert "Warning" not in shown


def test_an_interrupt_leaves_no_program_behind(root: Root) -> None:
    """Ctrl-C reaches all processes of the terminal; the program waits for a server that never replies."""
    root.write(MAIN.replace('"debian-12"\n}', '"debian-12"\n  storage = "proxmox:pve/local"\n}'))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(240)
        token = {"PM_API_TOKEN_ID": "root@pam!test", "PM_API_TOKEN_SECRET": "00000000-0000-0000-0000-000000000000"}
        address = {"PM_API_URL": f"https://127.0.0.1:{server.getsockname()[1]}"}
        running = subprocess.Popen(
            [root.terraform.path, "plan", "-no-color"],
            cwd=root.folder,
            env={**os.environ, **root.terraform.env, **root.env, **token, **address},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            connection, _ = server.accept()
            os.killpg(running.pid, signal.SIGINT)
            shown, _ = running.communicate(timeout=240)
            connection.settimeout(60)
            with connection, contextlib.suppress(ConnectionResetError):
                while connection.recv(1 << 16):  # until the program ends
                    pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 1
    assert "interrupt" in shown.lower()
    assert "Traceback" not in shown
