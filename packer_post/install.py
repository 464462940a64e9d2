"""The plugin as one file, and the directory where this machine's Packer looks for it.

Packer 1.7 and later need packer-plugin-NAME_vVERSION_xAPI_OS_ARCH three directories below the plugins directory, with
its checksum next to it (packer/plugin-getter/plugins.go). Packer 1.6 needs packer-post-processor-NAME in the plugins
directory (packer/plugin.go).
"""

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from lxcast import __version__, durable
from lxcast.errors import UsageError
from lxcast.model import parse_architecture
from packer_post.arguments import ATTRIBUTES
from packer_post.protocol.server import COOKIE

API = "x5.0"

DESCRIPTION = {
    "version": __version__,
    "sdk_version": "0.6.4",
    "api_version": API,
    "builders": [],
    "post_processors": ["-packer-default-plugin-name-"],
    "provisioners": [],
    "datasources": [],
    "protocol_version": "v2",
}
"""What `describe` answers (packer-plugin-sdk, plugin/set.go): the name of that release, whose protocol is spoken; one
post-processor, called as the plugin is; v2: arguments may be asked for by protobuf."""

_SCRIPT = """#!/bin/sh
# lxcast's post-processor for Packer, written by `lxcast packer install`. A zip archive of Python follows the script.
if [ "$1" = describe ]; then
  printf '%s\\n' {description}
  exit
fi
# Ctrl-C reaches this process, too; Packer then says what is to end.
trap '' INT TERM HUP
python={python}
[ -x "$python" ] || python=python3
exec "$python" "$0" "$@"
"""


def plugin_file() -> bytes:
    """Return the file that Packer starts: the same bytes for one installation of lxcast."""
    package = Path(__file__).parent
    told = {
        "python": sys.executable,
        "lxcast": str(package.parent),
        "cookie": COOKIE[1],
        "attributes": [[each.name, each.type, each.required] for each in ATTRIBUTES],
    }
    content = {"__main__.py": package / "launcher.py", "packer_post/__init__.py": package / "__init__.py"}
    content |= {f"packer_post/protocol/{each.name}": each for each in sorted((package / "protocol").glob("*.py"))}
    file = io.BytesIO()
    file.write(
        _SCRIPT.format(description=shlex.quote(json.dumps(DESCRIPTION)), python=shlex.quote(sys.executable)).encode()
    )
    with ZipFile(file, "a", ZIP_DEFLATED) as archive:
        for name, source in content.items():
            archive.writestr(ZipInfo(name), source.read_bytes(), ZIP_DEFLATED)
        archive.writestr(ZipInfo("plugin.json"), json.dumps(told))
    return file.getvalue()


def install(packer: str = "packer", folder: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Write the plugin where the Packer of that name or path finds it, or into a directory, and return the file.

    In a directory it is the file for `packer plugins install --path`. Raises UsageError if there is no Packer, or one
    before 1.6, and StorageError where the place cannot be written.
    """
    if folder:
        return _write(folder / "packer-plugin-lxcast")
    version = packer_version(packer)
    if version < (1, 7):
        return _write(_plugins(environ, version) / "packer-post-processor-lxcast")
    architecture = {"armhf": "arm", "i386": "386"}.get(arch := parse_architecture(os.uname().machine), arch)
    name = f"packer-plugin-lxcast_v{__version__}_{API}_linux_{architecture}"
    place = _plugins(environ, version) / "localhost" / "lxcast" / "lxcast"
    file = _write(place / name)
    for older in place.glob("packer-plugin-lxcast_v*"):
        if not older.name.startswith(name):
            older.unlink()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    _put(file.with_name(f"{name}_SHA256SUM"), f"{digest}\n".encode(), 0o644)
    return file


def packer_version(packer: str) -> tuple[int, int]:
    """Return the first two numbers of `packer version`."""
    program = shutil.which(packer)
    if program is None:
        raise UsageError(
            f"there is no {packer} on PATH",
            hint="name Packer with --packer, or write the plugin to a directory with --dir",
        )
    # Nothing else is asked: a plugin that Packer cannot start fails every other command.
    done = subprocess.run(  # noqa: S603 - the user's own Packer
        [program, "version"], capture_output=True, text=True, env={**os.environ, "CHECKPOINT_DISABLE": "1"}
    )
    match = re.search(r"Packer v(\d+)\.(\d+)\.", done.stdout)
    if match is None:
        said = (done.stderr or done.stdout).strip()
        raise UsageError(f"{program} version: exit status {done.returncode}, {said!r}", hint="is that Packer?")
    found = int(match[1]), int(match[2])
    if found < (1, 6):
        raise UsageError(
            f"{program} is Packer {match[1]}.{match[2]}, lxcast works with 1.6 and newer", hint="update it"
        )
    return found


def _plugins(environ: Mapping[str, str], version: tuple[int, int]) -> Path:
    """Return the directory in which Packer looks for plugins (packer-plugin-sdk, pathing/config_file_unix.go)."""
    if said := environ.get("PACKER_PLUGIN_PATH"):
        return Path(said.partition(":")[0])  # Packer up to 1.10 takes several
    home = Path(environ.get("PACKER_CONFIG_DIR") or environ.get("HOME") or Path.home())
    old = home / ".packer.d"
    if version < (1, 7) or environ.get("PACKER_CONFIG_DIR") or old.is_dir():
        return old / "plugins"
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "packer", "plugins")


def _write(file: Path) -> Path:
    file = file.absolute()
    _put(file, plugin_file(), 0o755)
    return file


def _put(file: Path, content: bytes, mode: int) -> None:
    """Write a file whole or not at all, where it is not there yet: a Packer that reads the old one is not disturbed."""
    if file.is_file() and file.read_bytes() == content and file.stat().st_mode & 0o777 == mode:
        return
    with durable.explained(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    with durable.Temporary(file.parent) as temporary:
        temporary.write(content)
        temporary.sync()
        temporary.path.chmod(mode)
        durable.replace(temporary.path, file)
