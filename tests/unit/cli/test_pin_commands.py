import json
from pathlib import Path

import pytest

from tests.published import publish
from tests.unit.cli.running import lxcast


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hold a storage with two versions, and a configuration pinned to the first."""
    for number in (3, 4):
        publish(tmp_path / "storage", "debian-12", number)
    (tmp_path / "main.tf").write_text('locals {\n  version = "v3" # it\n}\n')
    return tmp_path


def test_a_promotion_shows_the_difference_and_makes_it(folder: Path) -> None:
    told = lxcast("promote", "debian-12", "--version", "v4", "--to", "main.tf:local.version", cwd=folder)
    assert told.returncode == 0
    assert told.stdout.splitlines()[-3:] == ['-  version = "v3" # it', '+  version = "v4" # it', " }"]
    assert told.stderr == "main.tf: local.version: v3 -> v4\n"
    assert lxcast("pin", "get", "main.tf", "local.version", cwd=folder).stdout == "v4\n"
    again = lxcast("promote", "debian-12", "--version", "v4", "--to", "main.tf:local.version", cwd=folder)
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == "main.tf: local.version is already v4\n"


@pytest.mark.parametrize(("option", "code"), [("--dry-run", 0), ("--check", 1)])
@pytest.mark.parametrize(
    "arguments",
    [
        ["promote", "debian-12", "--to", "main.tf:local.version"],
        ["promote", "debian-12"],
        ["pin", "write", "debian-12"],
        ["pin", "set", "main.tf", "local.version", "v4"],
    ],
)
def test_dry_run_and_check_change_nothing(arguments: list[str], option: str, code: int, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    told = lxcast(*arguments, option, cwd=folder)
    assert told.returncode == code
    assert "v4" in told.stdout
    assert "would change" in told.stderr
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_pin_file_is_written_listed_and_rolled_back(folder: Path) -> None:
    assert lxcast("pin", "write", "debian-12", "--version", "v3", cwd=folder).returncode == 0
    assert lxcast("promote", "debian-12", cwd=folder).returncode == 0
    pins = json.loads((folder / "templates.auto.tfvars.json").read_text())["lxc_templates"]
    assert (pins["debian-12"]["version"], pins["debian-12"]["previous"]["version"]) == ("v4", "v3")
    listed = json.loads(lxcast("pin", "list", "--json", cwd=folder).stdout)["pins"]
    assert [(each["file"], each["value"], each["state"]) for each in listed] == [
        ("templates.auto.tfvars.json", "v4", "present")
    ]
    lines = lxcast("pin", "list", cwd=folder).stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ["STATE", "present"]
    told = json.loads(lxcast("rollback", "debian-12", "--json", cwd=folder).stdout)
    assert (told["new"], told["changed"], told["written"]) == ("local:vztmpl/debian-12-v3.tar.zst", True, True)
    assert lxcast("promote", "debian-12", "--version", "v3", "--check", cwd=folder).returncode == 0


def test_a_refusal_is_a_message_a_hint_and_a_code(folder: Path) -> None:
    (folder / "more.tf").write_text('locals {\n  id = "x-${local.version}"\n}\n')
    told = lxcast("pin", "set", "more.tf", "local.id", "x", cwd=folder)
    assert told.returncode == 11
    assert told.stderr.startswith("lxcast: error: more.tf:2:8: local.id is a template string")
    assert 'main.tf:2: local.version = "v3"' in told.stderr


UNSEEN = {
    "tofu/main.tofu": 'locals {\n  t = "local:vztmpl/debian-12-v3.tar.zst"\n}\n',
    "terragrunt/terragrunt.hcl": 'inputs = {\n  t = "local:vztmpl/debian-12-v3.tar.zst"\n}\n',
    "json/main.tf.json": '{"locals": {"t": "local:vztmpl/debian-12-v3.tar.zst"}}\n',
    "caller/main.tf": 'module "web" {\n  source = "./m"\n  v      = "v3"\n}\n',
    "unknown/main.tf": 'locals {\n  t = "local:vztmpl/debian-12-${var.v}.tar.zst"\n}\n',
    "env.hcl": 'locals {\n  version = "v3"\n}\n',
}
MODULE = 'variable "v" {}\nlocals {\n  t = "local:vztmpl/debian-12-${var.v}.tar.zst"\n}\n'


@pytest.mark.parametrize("name", UNSEEN)
def test_prune_keeps_a_template_that_any_kind_of_file_uses_or_may_use(name: str, folder: Path) -> None:
    for path, text in ((name, UNSEEN[name]), ("caller/m/main.tf", MODULE)):
        if path == name or name.startswith("caller"):
            (folder / "env" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "env" / path).write_text(text)
    told = lxcast("prune", "--keep", "1", "--pins", "env", "--apply", cwd=folder)
    assert told.returncode == 0, told.stderr
    assert (folder / "storage/template/cache/debian-12-v3.tar.zst").exists()
    assert "pinned by env/" in told.stdout
    if name in ("unknown/main.tf", "env.hcl"):
        assert "may be pinned by" in told.stdout


def test_a_literal_of_every_kind_of_file_is_read_and_set(folder: Path) -> None:
    for name, address in (
        ("tofu/main.tofu", "local.t"),
        ("json/main.tf.json", "local.t"),
        ("env.hcl", "local.version"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(UNSEEN[name])
        assert lxcast("promote", "debian-12", "--to", f"{name}:{address}", cwd=folder).returncode == 0
        assert "v4" in lxcast("pin", "get", name, address, cwd=folder).stdout
        assert (folder / name).read_text() == UNSEEN[name].replace("v3", "v4")
