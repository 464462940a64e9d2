"""Real `packer build` and `packer validate` runs of `post-processor "lxcast"`, with both generations of Packer."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest

from lxcast.tar.member import Member, directory, regular, symlink
from lxcast.tar.writer import Writer
from tests.integration.tools import Program, with_post_processor
from tests.unit.rootfs.filesystems import minimal_debian

DOCKER = """
source "docker" "rootfs" {
  image = "%s"
  pull  = false
  %s
}
"""

FILES = """
source "file" "rootfs" {
  source = "rootfs.tar"
  target = "export.tar"
}
"""


@dataclass(frozen=True)
class Templates:
    """A folder with a template of Packer's, and a Packer that has the plugin."""

    packer: Program
    folder: Path
    commands: Path

    def write(self, *blocks: str) -> None:
        (self.folder / "packer.pkr.hcl").write_text("\n".join(blocks))

    def run(self, command: str, *options: str, check: bool = True) -> str:
        """Run `packer` on the template and return all that it printed; with check=False it must fail."""
        done = self.packer.run(command, *options, "packer.pkr.hcl", cwd=self.folder, check=check)
        assert check or done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def build(self, *, check: bool = True) -> str:
        return self.run("build", "-color=false", check=check)

    def stored(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "storage").rglob("*") if path.is_file())

    def manifest(self) -> dict[str, object]:
        (build,) = json.loads((self.folder / "manifest.json").read_text())["builds"]
        assert isinstance(build, dict)
        return build

    def lxcast(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a command line that was printed, as a user would."""
        env = {**os.environ, "PATH": f"{self.commands}:{os.environ['PATH']}"}
        return subprocess.run(shlex.split(line), cwd=self.folder, env=env, capture_output=True, text=True)

    def plugins(self) -> list[int]:
        """The processes of the plugin that work in the folder."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if b"lxcast" in (process / "cmdline").read_bytes() and (process / "cwd").samefile(self.folder):
                    found.append(int(process.name))
            except OSError:
                continue
        return found


def chain(arguments: str, behind: str = "", *, source: str = "docker.rootfs", before: str = "") -> str:
    """A build of one chain, with lxcast in it."""
    return f"""
build {{
  sources = ["source.{source}"]
  post-processors {{
    {before}
    post-processor "lxcast" {{
      {arguments}
    }}
    {behind}
  }}
}}
"""


@pytest.fixture
def templates(packer: Program, commands: Path, tmp_path: Path) -> Templates:
    plugged = with_post_processor(packer, commands, tmp_path / "plugins")
    folder = tmp_path / "work"
    folder.mkdir()
    return Templates(plugged, folder, commands)


@pytest.fixture
def rootfs(templates: Templates) -> Path:
    """The tar of a root filesystem, small enough for a build in no time."""
    file = templates.folder / "rootfs.tar"
    with file.open("wb") as target:
        _write(minimal_debian(), target)
    return file


@pytest.fixture(scope="module")
def small_image(engine: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image of that root filesystem with the shell of this machine: the docker builder wants one to wait in."""
    linked = subprocess.run(["ldd", "/bin/dash"], check=True, capture_output=True, text=True).stdout
    programs = ["/bin/dash", *re.findall(r"(/\S+) \(", linked)]
    file = tmp_path_factory.mktemp("image") / "rootfs.tar"
    members = [*minimal_debian(), directory(b"usr/lib64"), symlink(b"lib64", b"usr/lib64")]
    members = [member for member in members if member.path != b"usr/bin/dash"]
    members += [regular(f"usr{path}".encode(), Path(path).read_bytes(), 0o755) for path in programs]
    with file.open("wb") as target:
        _write(members, target)
    name = f"lxcast-test/small-{os.getpid()}"
    engine.run("import", file, name)
    yield name
    engine.run("rmi", name)


def containers(engine: Program, image: str) -> list[str]:
    """The containers of an image, and of what was made from it."""
    return engine.run("ps", "--all", "--quiet", "--filter", f"ancestor={image}").stdout.split()


def _write(members: list[Member], target: BinaryIO) -> None:
    writer = Writer(target.write)
    for member in members:
        writer.add(member)
    writer.finish()


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


@pytest.mark.usefixtures("leak", "rootfs")
def test_a_failure_keeps_the_export_and_the_printed_command_resumes(templates: Templates) -> None:
    templates.write(FILES, chain(LEAK, source="file.rootfs"))
    line = resumes(templates, templates.build(check=False))
    assert not (templates.folder / "export.tar").exists()
    assert "export-kept1.tar" in line


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


def stop(templates: Templates, number: signal.Signals, begun: Callable[[str], bool]) -> str:
    """Build, send a signal when the output says that the work has begun, and return all output."""
    packer = subprocess.Popen(
        [templates.packer.path, "build", "-color=false", "packer.pkr.hcl"],
        cwd=templates.folder,
        env={**os.environ, **templates.packer.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    watch = threading.Timer(60, packer.kill)
    watch.start()
    try:
        assert packer.stdout
        printed = ""
        while not begun(printed):
            line = packer.stdout.readline()
            assert line, printed
            printed += line
        time.sleep(0.5)  # nothing tells of the first byte
        if number == signal.SIGINT:
            os.killpg(packer.pid, number)  # Ctrl-C reaches every process of the terminal's group
        else:
            packer.send_signal(number)
        return printed + packer.communicate(timeout=60)[0]
    finally:
        watch.cancel()
        packer.kill()
        packer.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_build_leaves_nothing(templates: Templates, rootfs: Path, number: signal.Signals) -> None:
    os.mkfifo(templates.folder / "endless.tar")
    endless = 'post-processor "artifice" {\n files = ["endless.tar"]\n}'
    templates.write(FILES, chain('template_name = "debian-12"', source="file.rootfs", before=endless))
    # Nobody writes to the pipe: the build is surely at work when it is stopped.
    printed = stop(templates, number, lambda text: "type lxcast" in text and bool(templates.plugins()))
    assert "Proxmox container template" not in printed
    wait_for_the_end(templates)
    assert templates.stored() == []
    assert not list(templates.folder.glob("*kept*"))


def test_a_build_that_is_stopped_while_it_reads_an_image_leaves_no_container(
    templates: Templates, small_image: str, engine: Program
) -> None:
    # What cannot be compressed, compressed at its hardest, takes long enough to be met at work.
    large = f"{small_image}-large"
    with tarfile.open(templates.folder / "large.tar", "w") as archive:
        noise = tarfile.TarInfo("noise")
        noise.size = 60 << 20
        archive.addfile(noise, io.BytesIO(os.urandom(noise.size)))
    (templates.folder / "Dockerfile").write_text(f"FROM {small_image}\nADD large.tar /opt/\n")
    engine.run("build", "--tag", large, templates.folder)
    try:
        templates.write(
            DOCKER % (large, "commit = true"), chain('template_name = "debian-12"\nsmall = true\nthreads = 1')
        )
        printed = stop(templates, signal.SIGINT, lambda text: "(lxcast): reading" in text)
        assert "Proxmox container template" not in printed
        wait_for_the_end(templates)
        assert containers(engine, small_image) == []
        assert templates.stored() == []
    finally:
        engine.run("rmi", large)


def wait_for_the_end(templates: Templates) -> None:
    """Wait until no process of the plugin is left."""
    until = time.monotonic() + 20
    while templates.plugins():
        assert time.monotonic() < until
        time.sleep(0.05)


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
