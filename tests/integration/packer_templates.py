"""A folder with a template of Packer's and a Packer that has `post-processor "lxcast"`; builds, also stopped ones."""

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.integration.tools import Program

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

    def run(self, command: str, *options: str, env: Mapping[str, str] | None = None, check: bool = True) -> str:
        """Run `packer` on the template and return all that it printed; with check=False it must fail."""
        done = self.packer.run(command, *options, "packer.pkr.hcl", cwd=self.folder, env=env, check=check)
        assert check or done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def build(self, *, check: bool = True) -> str:
        return self.run("build", "-color=false", check=check)

    def stored(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "storage").rglob("*") if path.is_file())

    def is_written(self) -> bool:
        """Whether a template is being written into the storage."""
        return any(path.stat().st_size for path in (self.folder / "storage").rglob("*") if path.is_file())

    def manifest(self) -> dict[str, object]:
        (build,) = json.loads((self.folder / "manifest.json").read_text())["builds"]
        assert isinstance(build, dict)
        return build

    def lxcast(self, line: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command line that was printed, as a user would."""
        env = {**os.environ, **(env or {}), "PATH": f"{self.commands}:{os.environ['PATH']}"}
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


def chain(
    arguments: str, behind: str = "", *, source: str = "docker.rootfs", provisioner: str = "", before: str = ""
) -> str:
    """A build of one chain, with lxcast in it."""
    return f"""
build {{
  sources = ["source.{source}"]
  {provisioner}
  post-processors {{
    {before}
    post-processor "lxcast" {{
      {arguments}
    }}
    {behind}
  }}
}}
"""


def stop(
    templates: Templates, number: signal.Signals, at_work: Callable[[str], bool], env: Mapping[str, str] | None = None
) -> str:
    """Build, send a signal as soon as `at_work`, which is told what was printed, says so; return all that is printed.

    Packer must end by itself, and soon, and leave no process of the plugin behind.
    """
    output = templates.folder.parent / "printed"
    with output.open("w") as target:
        packer = subprocess.Popen(
            [templates.packer.path, "build", "-color=false", "packer.pkr.hcl"],
            cwd=templates.folder,
            env={**os.environ, **templates.packer.env, **(env or {})},
            stdout=target,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 240
        while not at_work(output.read_text()):
            assert packer.poll() is None, output.read_text()
            assert time.monotonic() < until, output.read_text()
            time.sleep(0.02)
        if number == signal.SIGINT:
            os.killpg(packer.pid, number)  # Ctrl-C reaches every process of the terminal's group
        else:
            packer.send_signal(number)
        assert packer.wait(timeout=240) != 0
    finally:
        packer.kill()
        packer.wait()
    until = time.monotonic() + 60
    while templates.plugins():
        assert time.monotonic() < until
        time.sleep(0.02)
    return output.read_text()


def containers(engine: Program, image: str) -> list[str]:
    """The containers of an image, and of what was made from it."""
    return engine.run("ps", "--all", "--quiet", "--filter", f"ancestor={image}").stdout.split()
