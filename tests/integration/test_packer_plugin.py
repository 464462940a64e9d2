"""Real `packer build` and `packer validate` runs of `post-processor "lxcast"`, with both generations of Packer."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from lxcast.testing import Cluster, TaskFault
from tests.documents import blocks
from tests.integration.packer_templates import DOCKER, FILES, Templates, chain, containers
from tests.integration.tools import REPOSITORY, Program
from tests.session import follow
from tests.unit.cli.proxmox import access, held
from tests.unit.cli.running import environment

LATER = """
post-processor "shell-local" {
  inline = ["echo later: ${try(build.TemplateId, "")} ${try(build.TemplateVersion, "")}"]
}
post-processor "manifest" {
  output      = "manifest.json"
  custom_data = { sha256 = try(build.TemplateSha256, "") }
}
"""


def test_an_export_becomes_a_template_and_later_steps_are_told(templates: Templates, small_image: str) -> None:
    templates.write(
        DOCKER % (small_image, 'export_path = "rootfs.tar"'),
        chain('template_name = "debian-12"\nstorage = "pve-nfs=./storage"', LATER),
    )
    printed = templates.build()
    assert "later: pve-nfs:vztmpl/debian-12-v1.tar.zst v1\n" in printed
    assert templates.stored() == ["debian-12-v1.json", "debian-12-v1.tar.zst", "debian-12-v1.tar.zst.sha256"]
    record = json.loads((templates.folder / "storage/template/cache/debian-12-v1.json").read_text())
    manifest = templates.manifest()
    assert manifest["artifact_id"] == "pve-nfs:vztmpl/debian-12-v1.tar.zst"
    assert manifest["custom_data"] == {"sha256": record["sha256"]}
    assert not list(templates.folder.glob("*.tar")), "on success Packer deletes the export, and lxcast its hold"


@pytest.mark.parametrize("page", ["packer-plugin.md", "packer-shell-local.md"])
def test_the_build_that_a_page_shows(templates: Templates, small_image: str, page: str) -> None:
    shown = next(block.text for block in blocks(REPOSITORY / "docs/how-to" / page) if block.language == "hcl")
    shown = shown.replace("=/mnt/pve/pve-nfs", "=./storage").replace('"debian:12"', f'"{small_image}"\n  pull = false')
    (templates.folder / "output").mkdir()
    templates.write(re.sub(r"\Apacker \{.*?^\}\n", "", shown, flags=re.DOTALL | re.MULTILINE))
    templates.run("build", env={"PATH": f"{templates.commands}:{os.environ['PATH']}"})
    assert templates.stored() == ["debian-12-v1.json", "debian-12-v1.tar.zst", "debian-12-v1.tar.zst.sha256"]


def test_the_page_about_the_plugin_does_what_it_shows(
    packer_new: Program, small_image: str, commands: Path, tmp_path: Path
) -> None:
    """`packer init` asks a registry, which a test has not."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/packer").symlink_to(packer_new.path)
    folder = tmp_path / "reader"
    folder.mkdir()
    env = {
        **environment(packer_new.env),
        "PATH": f"{tmp_path / 'bin'}:{commands}:{os.environ['PATH']}",
        "PACKER_PLUGIN_PATH": str(shutil.copytree(packer_new.env["PACKER_PLUGIN_PATH"], tmp_path / "plugins")),
    }
    other_words = {
        "packer init ": "packer validate ",
        "=/mnt/pve/pve-nfs": "=./storage",
        '"debian:12"': f'"{small_image}"\n  pull = false',
    }
    page = REPOSITORY / "docs/how-to/packer-plugin.md"
    assert follow(page, folder, env, other_words) == 3
    assert (folder / "storage/template/cache/debian-12-v1.tar.zst").exists()


def test_a_committed_image_becomes_a_template_and_is_kept_where_that_is_said(
    templates: Templates, small_image: str, engine: Program
) -> None:
    behind = 'post-processor "manifest" {\n output = "manifest.json"\n}'
    tag = 'post-processor "docker-tag" {\n repository = "lxcast-test/plugin"\n %s = ["kept"]\n}'
    before = tag % ("tag" if templates.packer.path == Path("/usr/bin/packer") else "tags")
    templates.write(
        DOCKER % (small_image, "commit = true"),
        chain('template_name = "debian-12"\nkeep_input_artifact = true', behind, before=before),
    )
    templates.build()
    try:
        assert templates.manifest()["artifact_id"] == "local:vztmpl/debian-12-v1.tar.zst"
        record = json.loads((templates.folder / "storage/template/cache/debian-12-v1.json").read_text())
        assert record["source"]["kind"] == "docker-daemon"
        assert record["source"]["reference"] == "lxcast-test/plugin:kept"
    finally:
        engine.run("rmi", "lxcast-test/plugin:kept")


@pytest.mark.usefixtures("rootfs")
def test_builds_at_once_pin_each_what_it_built(templates: Templates) -> None:
    both = chain('template_name = "web-${source.name}"\npin_file = "templates.auto.tfvars.json"', source="file.rootfs")
    templates.write(
        FILES,
        FILES.replace('"rootfs"', '"other"').replace("export.tar", "other.tar"),
        both.replace('["source.file.rootfs"]', '["source.file.rootfs", "source.file.other"]'),
    )
    templates.build()
    pins = json.loads((templates.folder / "templates.auto.tfvars.json").read_text())["lxc_templates"]
    assert {name: pin["template_id"] for name, pin in pins.items()} == {
        "web-rootfs": "local:vztmpl/web-rootfs-v1.tar.zst",
        "web-other": "local:vztmpl/web-other-v1.tar.zst",
    }


# Golden policy refuses the file.
LEAK = 'add = ["extra:/root/.netrc"]\npolicy = "golden"\ntemplate_name = "debian-12"'


@pytest.fixture
def leak(templates: Templates) -> None:
    (templates.folder / "extra").write_text("machine example.org login me password hunter2")


@pytest.mark.usefixtures("leak")
def test_a_failure_keeps_the_image_and_the_printed_command_resumes(
    templates: Templates, small_image: str, engine: Program
) -> None:
    templates.write(DOCKER % (small_image, "commit = true"), chain(LEAK))
    line = resumes(templates, templates.build(check=False))
    container = shlex.split(line)[2].removeprefix("docker-container:")
    assert containers(engine, small_image) == [engine.run("inspect", "--format", "{{.Id}}", container).stdout[:12]]
    image = engine.run("inspect", "--format", "{{.Image}}", container).stdout.strip()
    engine.run("rm", container)
    engine.run("rmi", image)


@pytest.mark.parametrize("keep", ["", "keep_input_artifact = true", "keep_input_artifact = false"])
@pytest.mark.parametrize("source", ["docker", "file"])
@pytest.mark.usefixtures("leak", "rootfs")
def test_a_failure_keeps_the_export_and_the_printed_command_resumes(
    templates: Templates, small_image: str, source: str, keep: str
) -> None:
    """Whatever keep_input_artifact says, of which Packer takes no note when a post-processor fails."""
    blocks = {"docker": DOCKER % (small_image, 'export_path = "export.tar"'), "file": FILES}
    templates.write(blocks[source], chain(f"{LEAK}\n{keep}", source=f"{source}.rootfs"))
    line = resumes(templates, templates.build(check=False))
    assert not (templates.folder / "export.tar").exists()
    assert "export-kept1.tar" in line


@pytest.mark.parametrize("keep", ["", "keep_input_artifact = true", "keep_input_artifact = false"])
def test_a_success_leaves_the_input_as_keep_input_artifact_says(
    templates: Templates, small_image: str, engine: Program, keep: str
) -> None:
    arguments = f'template_name = "debian-12"\n{keep}'
    templates.write(DOCKER % (small_image, 'export_path = "export.tar"'), chain(arguments))
    templates.build()
    assert [path.name for path in templates.folder.glob("*.tar")] == ["export.tar"] * ("true" in keep)
    templates.write(DOCKER % (small_image, "commit = true"), chain(arguments))
    (image,) = set(re.findall(r"Image ID: (sha256:\w+)", templates.build()))
    assert containers(engine, small_image) == []
    # Packer could not remove an image that something of lxcast's held.
    removed = engine.run("rmi", image, check=False).returncode != 0
    assert removed == ("true" not in keep)


def resumes(templates: Templates, printed: str) -> str:
    """See that the command which a failed build told goes on from there, and return it."""
    assert "hunter2" not in printed
    assert templates.stored() == []
    line = resumption(printed)
    allowed = " ".join(f"--allow {name}=test" for name in re.findall(r'allow = \{ (\S+) = "REASON"', printed))
    again = templates.lxcast(f"{line} {allowed}")
    assert again.stdout == "local:vztmpl/debian-12-v1.tar.zst\n", again.stderr
    return line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('template_name = "debian-12"\nsorage = "x"', "sorage"),
        ('storage = "./x"', 'The argument "template_name" is required'),
        ('template_name = "debian-12"\ndisable = { a = 1 }', "disable"),
        ('template_name = "debian-12"\nif_changed = "perhaps"', "bool"),
        ('template_name = "debian-12"\npolicy = "iron"\nversion = "4"', "policy"),
        ('template_name = "debian 12"', "may hold letters"),
        ('template_name = "debian-12"\ndisable = ["no-such-row"]', "no-such-row"),
        ('template_name = "debian-12"\npattern = "{name}"', "{version}"),
        (
            'template_name = "debian-12"\nstorage = "proxmox:pve/local"\napi_url = "ftp://pve"',
            "must start with https://",
        ),
        ('template_name = "debian-12"\nstorage = "proxmox:pve/local"\nnodes = "pve"', "list of string"),
        (
            'template_name = "debian-12"\nstorage = "proxmox:pve/local"\nput_url = "https://s3/x"',
            "put_url needs get_url",
        ),
        ('template_name = "debian-12"\napi_token_secret = "x"', "api_token_secret"),
        ('template_name = "debian-12"\ninit = "systemd"', "none, auto, app"),
        ('template_name = "debian-12"\npin_file = "main.tf"', "main.tf"),
    ],
)
def test_wrong_arguments_are_errors_of_validate(templates: Templates, arguments: str, said: str) -> None:
    (templates.folder / "rootfs.tar").touch()
    templates.write(FILES, chain(arguments, source="file.rootfs"))
    printed = templates.run("validate", check=False)
    assert said in " ".join(printed.split())
    assert "Traceback" not in printed
    assert templates.stored() == []


def test_builds_of_three_variants_at_once_get_three_versions(templates: Templates, rootfs: Path) -> None:
    sources = "\n".join(
        f'source "file" "{name}" {{\n source = "rootfs.tar"\n target = "{name}.tar"\n}}' for name in ("a", "b", "c")
    )
    build = chain(
        'template_name = "debian-12"\nkeep_input_artifact = true', source='file.a", "source.file.b", "source.file.c'
    )
    templates.write(sources, build)
    printed = templates.run("build", "-machine-readable")
    expected = {f"local:vztmpl/debian-12-v{number}.tar.zst" for number in (1, 2, 3)}
    assert set(re.findall(r",lxcast-template,(local:[^,]+),", printed)) == expected
    assert set(re.findall(r",artifact,\d+,id,(local:\S+)", printed)) == expected
    assert sorted(path.name for path in templates.folder.glob("*.tar")) == ["a.tar", "b.tar", "c.tar", "rootfs.tar"]


UPLOAD = 'template_name = "debian-12"\nstorage = "proxmox:pve/local"\nrecords = "records"\n'


@pytest.mark.usefixtures("rootfs")
def test_a_template_is_uploaded_and_its_id_is_the_artifacts(
    templates: Templates, server: Cluster, tmp_path: Path
) -> None:
    templates.write(FILES, chain(UPLOAD, LATER, source="file.rootfs"))
    env = access(server, tmp_path)
    server.stop("pve")
    templates.run("validate", env=env)  # asks that the token is there, and no server
    server.start("pve")
    printed = templates.run("build", "-machine-readable", env=env)
    volid = "local:vztmpl/debian-12-v1.tar.zst"
    assert set(re.findall(r",artifact,\d+,id,(\S+)", printed)) == {volid}
    assert f"later: {volid} v1" in printed
    assert templates.manifest()["artifact_id"] == volid
    assert server.token.secret not in printed
    content = held(server, "debian-12-v1.tar.zst")
    assert content is not None
    record = json.loads((templates.folder / "records/debian-12-v1.json").read_text())
    assert (record["template_id"], record["size"]) == (volid, len(content))
    # Later post-processors read the copy of the template; the next run removes it.
    assert (templates.folder / "records/files/debian-12-v1.tar.zst").read_bytes() == content
    assert {path.name for path in (templates.folder / "records").iterdir()} == {"debian-12-v1.json", "files"}


@pytest.mark.usefixtures("rootfs")
def test_a_failed_upload_keeps_the_template_and_the_printed_command_publishes_it(
    templates: Templates, server: Cluster, tmp_path: Path
) -> None:
    templates.write(FILES, chain(UPLOAD, source="file.rootfs"))
    env = access(server, tmp_path)
    server.faults.tasks["imgcopy"] = TaskFault(error="import failed: No space left on device")
    printed = templates.run("build", "-color=false", env=env, check=False)
    server.faults.tasks.clear()
    (line,) = set(re.findall(r"lxcast publish \S+ --storage \S+", printed))
    assert (templates.folder / "export-kept1.tar").exists()
    assert templates.lxcast(line, env).stdout == "local:vztmpl/debian-12-v1.tar.zst\n"
    assert held(server, "debian-12-v1.tar.zst")


def test_the_file_of_install_dir_is_what_packer_installs(packer_new: Program, commands: Path, tmp_path: Path) -> None:
    Program(commands / "lxcast").run("packer", "install", "--dir", tmp_path)
    env = {"PACKER_PLUGIN_PATH": str(tmp_path / "plugins")}
    packer_new.run("plugins", "install", "--path", tmp_path / "packer-plugin-lxcast", "example.com/us/lxcast", env=env)
    installed = packer_new.run("plugins", "installed", env=env).stdout
    assert "packer-plugin-lxcast_v" in installed


def resumption(printed: str) -> str:
    """The command that a failed post-processor told, out of Packer's output."""
    found = set(re.findall(r"^\s*((?:env \S+ )?lxcast build .*)", printed, re.MULTILINE))
    assert len(found) == 1, printed
    return str(found.pop())
