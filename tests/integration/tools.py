"""The real programs that the integration tests run, as scripts/setup-integration leaves them."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(
    os.environ.get("LXCAST_TOOLS") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lxcast-tools"
)
# Names on an engine that others use, and where a run that was killed left its own under a number that comes again.
UNIQUE = f"{os.getpid()}-{secrets.token_hex(4)}"
REQUIRED = os.environ.get("LXCAST_REQUIRE_INTEGRATION") == "1"


def missing(reason: str) -> NoReturn:
    """Skip the test by name; where CI says that everything must be there, fail it."""
    if REQUIRED:
        pytest.fail(f"{reason} (LXCAST_REQUIRE_INTEGRATION=1)")
    pytest.skip(f"{reason}; as root on Debian or Ubuntu: scripts/setup-integration")


@dataclass(frozen=True)
class Program:
    """A program with the environment that it needs; `run` is subprocess.run with text and a message that shows all."""

    path: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        check: bool = True,
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        """Run it; a status other than 0 fails the test with both outputs, unless check=False."""
        done = subprocess.run(
            [self.path, *arguments],
            cwd=cwd,
            env={**os.environ, **self.env, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode:
            words = " ".join(map(str, arguments))
            pytest.fail(f"{self.path} {words}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done


def need_provider(address: str) -> None:
    """Skip or fail the test unless the mirror of providers holds this one, such as bpg/proxmox."""
    if not any((CACHE / "providers").glob(f"*/{address}/*")):
        missing(f"no {address} provider in the cache")


def on_path(name: str) -> Path | None:
    """The program of that name on PATH."""
    found = shutil.which(name)
    return Path(found) if found else None


def cached(name: str) -> Path | None:
    """The program that scripts/setup-integration built."""
    path = CACHE / "bin" / name
    return path if path.exists() else None


def with_post_processor(packer: Program, commands: Path, plugins: Path) -> Program:
    """Return that Packer with `post-processor "lxcast"` in a plugin folder of its own, beside what it had."""
    if given := packer.env.get("PACKER_PLUGIN_PATH"):
        shutil.copytree(given, plugins)
    env = {"PACKER_PLUGIN_PATH": str(plugins)}
    Program(commands / "lxcast", env).run("packer", "install", "--packer", packer.path)
    return Program(packer.path, {**packer.env, **env})
