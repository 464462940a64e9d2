"""The Terraform modules with the real providers: as HCL, by mocks, and against a stand-in Proxmox VE server."""

import hashlib
import http.server
import json
import re
import shutil
import tarfile
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from lxcast.jobs.promote import write_pin
from lxcast.references.entries import DEFAULT
from lxcast.settings import storage_options
from lxcast.testing import Cluster
from tests.image_files import Layout
from tests.integration.tools import REPOSITORY, Program, need_provider
from tests.published import pin, publish
from tests.unit.cli.running import archive
from tests.unit.rootfs.filesystems import minimal_debian

MODULES = sorted((REPOSITORY / "hcl" / "terraform").iterdir())
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzZhhpx someone"


@pytest.fixture
def terraform(terraform_like: Program) -> Program:
    """Terraform and OpenTofu in turn, with bpg/proxmox in the mirror."""
    need_provider("bpg/proxmox")
    return terraform_like


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_a_module_is_valid_and_passes_its_own_tests(terraform: Program, module: Path, tmp_path: Path) -> None:
    copy = tmp_path / module.name
    shutil.copytree(module, copy, ignore=shutil.ignore_patterns(".terraform*"))
    terraform.run("init", cwd=copy)
    terraform.run("validate", cwd=copy)
    told = terraform.run("test", "-no-color", cwd=copy).stdout
    assert re.search(r"Success! [1-9]\d* passed, 0 failed", told)


def test_all_hcl_is_laid_out_as_terraform_does(terraform: Program) -> None:
    for folder in ("hcl", "examples"):
        terraform.run("fmt", "-check", "-recursive", "-diff", REPOSITORY / folder)


class Site:
    """A copy of examples/container with a storage of versions 4 and 5 beside it, and a server for the providers."""

    def __init__(self, terraform: Program, server: Cluster, folder: Path, commands: Path) -> None:
        self.terraform = terraform
        self.server = server
        self.storage = folder / "storage"
        self.folder = folder / "examples" / "container"
        shutil.copytree(REPOSITORY / "hcl", folder / "hcl")
        shutil.copytree(REPOSITORY / "examples" / "container", self.folder)
        self.env = {
            "PATH": f"{commands}:/usr/bin:/bin",
            "PROXMOX_VE_ENDPOINT": server.url,
            "PROXMOX_VE_API_TOKEN": f"{server.token.id}={server.token.secret}",
            "SSL_CERT_FILE": str(server.ca),
            "TF_VAR_ssh_public_keys": json.dumps([KEY]),
            "TF_VAR_datastore_id": "local",
        }
        for number in (4, 5):
            record = publish(self.storage, "debian-12", number)
            shutil.copy(self.storage / "template/cache" / record.file, server.storages["local"].folder("pve"))
        self.promote(4)
        self.run("init")

    def promote(self, number: int) -> None:
        """Move the pin."""
        pin(self.folder / DEFAULT, publish(self.storage, "debian-12", number))

    def run(self, *arguments: str, check: bool = True, env: Mapping[str, str] | None = None) -> str:
        """Run a command and return all that it printed; with check=False it must fail."""
        done = self.terraform.run(
            *arguments, "-no-color", cwd=self.folder, env={**self.env, **(env or {})}, check=check
        )
        assert check or done.returncode != 0
        return done.stdout + done.stderr

    def actions(self, env: Mapping[str, str] | None = None) -> dict[str, list[str]]:
        """What a plan would do, by address; resources that stay as they are left out."""
        self.run("plan", "-out=plan", env=env)
        shown = self.terraform.run("show", "-json", "plan", cwd=self.folder, env=self.env).stdout
        changes = json.loads(shown).get("resource_changes", [])
        return {
            each["address"]: each["change"]["actions"]
            for each in changes
            if each["change"]["actions"] not in (["no-op"], ["read"])
        }

    def containers(self) -> dict[str, str]:
        """The containers that there are, and what each was made from."""
        return {each.configuration["hostname"]: each.template for each in self.server.containers.values()}


@pytest.fixture
def server() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def site(terraform: Program, server: Cluster, tmp_path: Path, commands: Path) -> Site:
    return Site(terraform, server, tmp_path, commands)


WEB = "module.web.proxmox_virtual_environment_container.container"
V4, V5 = (f"local:vztmpl/debian-12-v{number}.tar.zst" for number in (4, 5))


def test_containers_are_made_kept_and_replaced_as_their_pattern_says(site: Site) -> None:
    site.run("apply", "-auto-approve")
    assert site.containers() == {"web": V4, "database": V4}
    assert site.actions() == {}
    # The keys replace a container, but no kept one.
    other_key = {"TF_VAR_ssh_public_keys": json.dumps([KEY, KEY.replace("someone", "else")])}
    assert site.actions(other_key) == {WEB: ["delete", "create"]}
    site.promote(5)
    assert site.actions() == {WEB: ["delete", "create"]}
    site.run("apply", "-auto-approve")
    assert site.containers() == {"web": V5, "database": V4}
    assert site.actions() == {}
    site.run("apply", "-auto-approve", "-replace=module.database.terraform_data.made_from[0]")
    assert site.containers() == {"web": V5, "database": V5}
    site.run("destroy", "-auto-approve")
    assert site.containers() == {}


HINTS = {
    "disk_gb": 6,
    "unprivileged": True,
    "hostname": "app.example",
    "memory": 96,
    "swap": 190,
    "cores": 3,
    "cpulimit": 2.5,
    "cpuunits": 50,
    "cmode": "console",
    "host_managed": True,
    "init": "app",
    "entrypoint": ["/bin/app"],
    "cmd": ["two words", ""],
    "env": ["A=b=c", "KEY=***"],
}


@pytest.mark.parametrize("told_by", ["record", "pin"])
def test_the_hints_of_a_record_make_the_container(site: Site, told_by: str) -> None:
    main = site.folder / "main.tf"
    secret = '  environment     = sensitive({ KEY = "x" })\n'
    text = main.read_text().replace('  hostname        = "web"\n', secret)
    main.write_text(text.replace('  hostname        = "database"\n', f'{secret}  hostname = "database"\n'))
    file = site.storage / "template/cache/debian-12-v4.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"hints": HINTS}))
    if told_by == "record":
        storage = '  storage = "local=${path.module}/../../storage"\n'
        main.write_text(main.read_text().replace('  name   = "debian-12"\n', f'  name   = "debian-12"\n{storage}'))
    write_pin("debian-12", "v4", storage_options(f"local={site.storage}"), site.folder / DEFAULT)
    assert "The record hides" not in site.run("apply", "-auto-approve")
    (app,) = (each for each in site.server.containers.values() if each.configuration["hostname"] == "app.example")
    made = app.configuration
    assert made["rootfs"].endswith("size=6G")
    assert [made[key] for key in ("memory", "swap", "cores", "cpulimit", "cpuunits", "cmode")] == (
        ["96", "190", "3", "2.5", "50", "console"]
    )
    assert "host-managed=1" in made["net0"]
    assert made["entrypoint"] == '/bin/app "two words" ""'
    assert set(made["env"].split("\0")) == {"A=b=c", "KEY=x"}
    assert site.actions() == {}


def test_the_first_plan_of_a_kept_container_knows_its_template_and_warns_of_nothing(site: Site) -> None:
    told = site.run("plan", "-out=plan")
    assert "Warning" not in told
    shown = site.terraform.run("show", "-json", "plan", cwd=site.folder, env=site.env).stdout
    planned = {each["address"]: each["change"]["after"] for each in json.loads(shown)["resource_changes"]}
    kept = planned["module.database.proxmox_virtual_environment_container.container"]
    assert kept["operating_system"][0]["template_file_id"] == V4


def test_environment_of_an_oci_archive_is_set_by_a_second_apply_which_the_module_asks_for(site: Site) -> None:
    """Proxmox overwrites it by the image's when it creates the container."""
    folder = site.server.storages["local"].folder("pve")
    image = Layout(site.folder.parent / "image")
    image.add(image.manifest([archive(minimal_debian())], "gzip", config={"Env": ["A=image"], "Cmd": ["/bin/app"]}))
    with tarfile.open(folder / "app-v1.tar", "w") as tar:
        tar.add(image.folder, "")
    main = site.folder / "main.tf"
    text = main.read_text()
    hints = '{ env = ["A=image"], cmd = ["/bin/app"] }'
    template = f'{{ template_id = "local:vztmpl/app-v1.tar", format = "oci-archive", hints = {hints} }}\n'
    text = text.replace("module.debian_12.template\n", template)
    text = text.replace(
        '  hostname        = "web"\n', '  hostname        = "web"\n  environment     = { A = "mine" }\n'
    )
    main.write_text(text)
    assert "Run `terraform apply` a second time" in " ".join(site.run("apply", "-auto-approve").split())

    def environment() -> str:
        return next(
            each.configuration["env"]
            for each in site.server.containers.values()
            if each.configuration["hostname"] == "web"
        )

    assert environment() == "A=image"
    assert site.actions() == {WEB: ["update"]}  # and the other container keeps what its image says
    site.run("apply", "-auto-approve")
    assert environment() == "A=mine"
    assert site.actions() == {}


def test_the_pin_file_alone_is_enough_without_an_external_program(site: Site) -> None:
    main = site.folder / "main.tf"
    text = main.read_text().replace("module.debian_12.template\n", 'var.lxc_templates["debian-12"]\n')
    before, _, rest = text.partition('module "debian_12" {')
    main.write_text(before + rest.partition("}\n")[2].partition('output "template_id"')[0])
    site.env["PATH"] = "/usr/bin:/bin"
    site.run("apply", "-auto-approve")
    assert site.containers() == {"web": V4, "database": V4}
    site.promote(5)
    assert site.actions() == {WEB: ["delete", "create"]}


def test_a_template_is_downloaded_by_url_and_checked(site: Site) -> None:
    """From plain HTTP: the digest protects it."""
    folder = site.server.storages["local"].folder("pve")
    for file in folder.iterdir():
        file.unlink()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(site.storage / "template/cache"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever).start()
        try:
            main = site.folder / "main.tf"
            source = f'  source_url = "http://127.0.0.1:{web.server_port}/"\n  node_name = var.node_name\n'
            main.write_text(main.read_text().replace('  name   = "debian-12"\n', f'  name   = "debian-12"\n{source}'))
            assert "checksum" in site.run("apply", "-auto-approve", check=False)
            assert site.containers() == {}
            assert [*folder.iterdir()] == []
            # What the stand-in record tells is no digest of the file; now it is.
            digest = hashlib.sha256((site.storage / "template/cache/debian-12-v4.tar.zst").read_bytes()).hexdigest()
            pins = site.folder / DEFAULT
            pins.write_text(pins.read_text().replace("a" * 64, digest))
            site.run("apply", "-auto-approve")
            assert [file.name for file in folder.iterdir()] == ["debian-12-v4.tar.zst"]
            assert site.containers() == {"web": V4, "database": V4}
            assert site.actions() == {}
        finally:
            web.shutdown()


def test_without_a_proxmox_server_the_plan_reads_the_pin(site: Site) -> None:
    """Nothing is made yet, so that nothing has to be read from the server."""
    site.server.stop("pve")
    assert site.actions()[WEB] == ["create"]
