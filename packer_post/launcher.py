"""The `__main__` of the file that Packer starts: the plugin where it is installed, else the error that it is gone.

The file is a shell's script, which answers `describe`, and behind it a zip archive of this module,
`packer_post.protocol` and `plugin.json`: {"lxcast": path, "python": path, "cookie": text, "attributes": [[name, type,
required], ...]}. A plugin that did not start at all would be an error without a reason, and a crash of Packer 1.6.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any
from zipfile import ZipFile


class Gone:
    """A post-processor that says why there is none."""

    def __init__(self, why: str) -> None:
        self._why = why

    def configure(self, configs: Sequence[Any]) -> None:
        """Say why."""
        raise RuntimeError(self._why)

    def post_process(self, host: object) -> Any:
        """Say why."""
        raise RuntimeError(self._why)

    def cancel(self) -> None:
        """There is nothing to cancel."""


def main() -> None:
    """Serve Packer."""
    file = os.path.abspath(sys.argv[0])  # noqa: PTH100 - pathlib costs more than it gives here
    with ZipFile(file) as archive:
        installed = json.loads(archive.read("plugin.json"))
    name, value = "PACKER_PLUGIN_MAGIC_COOKIE", installed["cookie"]
    if os.environ.get(name) != value:
        sys.exit("this is lxcast's plugin, which Packer starts; `lxcast packer install` puts it where Packer looks")
    # The path of the archive is replaced with that of lxcast; nothing from Packer's working directory is imported.
    sys.path[0] = installed["lxcast"]
    try:
        from packer_post.plugin import main as serve
    except Exception as error:  # whatever is wrong with what is installed, Packer is to show it
        why = f"{type(error).__name__}: {error}"
    else:
        serve()
        return
    sys.path[0] = file
    for module in [each for each in sys.modules if each.partition(".")[0] == "packer_post"]:
        del sys.modules[module]
    from packer_post.protocol.hcl_spec import Attribute
    from packer_post.protocol.server import offer

    attributes = [Attribute(name, kind, "", required) for name, kind, required in installed["attributes"]]
    gone = Gone(
        f"lxcast, which installed {file}, is gone from {installed['python']} ({why})\n"
        "hint: install lxcast again, then run `lxcast packer install`"
    )
    session = offer(gone, attributes, sys.argv[1:])
    if session:
        session.ended.wait()


if __name__ == "__main__":
    main()
