"""From the workflow's release job to a storage: Terraform pins what the release page has, and the node fetches it."""

import json
from pathlib import Path

from lxcast.testing import Cluster
from tests.documents import blocks
from tests.integration.test_stand_in_server import PROVIDER
from tests.integration.tools import Program, missing, on_path
from tests.unit.cli.proxmox import make_template
from tests.unit.test_github_actions import FOLDER, fake, run, script
from tests.web import WebServer

TAG = "templates-v1"


@PROVIDER
def test_terraform_pins_what_a_release_holds(terraform_like: Program, commands: Path, tmp_path: Path) -> None:
    if on_path("jq") is None:
        missing("no jq")
    files = {}
    search = f"{tmp_path / 'bin'}:{commands}:/usr/bin:/bin"
    (tmp_path / "templates").mkdir()
    for name in ("alpine", "debian-12"):
        file = make_template(tmp_path / name, name)
        files[file.name] = file.read_bytes()
        manifest = tmp_path / "images" / name / "output/manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text('{"builds": []}')
        step = script("build", "Check the templates")
        checked = run(step, file.parent, PATH=search, IMAGE=name, VERSION="v1", GITHUB_WORKSPACE=str(tmp_path))
        assert checked.returncode == 0, checked.stderr
        for path in file.parent.iterdir():
            path.rename(tmp_path / "templates" / path.name)
    fake(tmp_path / "bin", "gh", "exit 0")
    with Cluster(("pve1",)) as server, WebServer() as web:
        step = script("release", "Create the release")
        released = run(step, tmp_path / "templates", PATH=search, TAG=TAG, PAGE=f"{web.url}/download")
        assert released.returncode == 0, released.stderr
        web.files |= {f"/download/{TAG}/{name}": content for name, content in files.items()}
        (hcl,) = [block.text for block in blocks(FOLDER / "README.md") if block.language == "hcl"]
        (tmp_path / "tf").mkdir()
        (tmp_path / "tf/main.tf").write_text(hcl.replace("https://pve1.example.org:8006/", server.url))
        pins = tmp_path / "templates/downloads.auto.tfvars.json"
        assert sorted(json.loads(pins.read_text())["lxc_downloads"]) == ["alpine", "debian-12"]
        pins.rename(tmp_path / "tf" / pins.name)
        token = f"{server.token.id}={server.token.secret}"
        env = {"PROXMOX_VE_INSECURE": "true", "PROXMOX_VE_API_TOKEN": token}
        for command in (["init"], ["apply", "-auto-approve"], ["plan", "-detailed-exitcode"]):
            terraform_like.run(*command, "-no-color", "-input=false", cwd=tmp_path / "tf", env=env)
        folder = server.storages["local"].folder("pve1")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
