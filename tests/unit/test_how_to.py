"""The commands of the how-to pages do what the pages show."""

import hashlib
from pathlib import Path

import pytest

from lxcast.tar.member import regular
from tests.documents import REPOSITORY
from tests.https_server import file_server
from tests.image_files import docker_archive
from tests.session import follow
from tests.unit.cli.running import archive, environment
from tests.unit.rootfs.filesystems import minimal_debian, program, without

FOLLOWED_ELSEWHERE = {"create-containers.md", "publish.md", "publish-to-many-nodes.md", "packer-plugin.md"}
"""Pages that need a Proxmox server or Packer: the tests of these follow them."""
PAGES = sorted(page for page in (REPOSITORY / "docs" / "how-to").glob("*.md") if page.name not in FOLLOWED_ELSEWHERE)
WITHOUT_COMMANDS = {"from-an-upload-script.md"}
"""Its commands need a node; those of publish.md are the same."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_do_what_it_shows(page: Path, commands: Path, tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    log = regular(b"var/log-of-build", b"text")
    (folder / "rootfs.tar").write_bytes(archive([*minimal_debian(), log]))
    docker_archive(folder / "my-image.tar", [archive(minimal_debian())])
    (folder / "motd").write_text("welcome\n")
    (folder / "my-app").mkdir()
    tools = [program(b"usr/bin/env"), program(b"usr/bin/setpriv"), program(b"opt/server")]
    (folder / "my-app/rootfs.tar").write_bytes(archive([*without(minimal_debian(), b"usr/sbin/init"), *tools]))
    rootfs = (folder / "rootfs.tar").read_bytes()
    (folder / "rootfs.tar.sha256").write_text(f"{hashlib.sha256(rootfs).hexdigest()}  rootfs.tar\n")
    with file_server(tmp_path / "server") as server:
        server.files["/rootfs.tar"] = rootfs
        env = environment({"SSL_CERT_FILE": str(server.ca), "XDG_CACHE_HOME": str(tmp_path / "cache")})
        env["PATH"] = f"{commands}:{env['PATH']}"
        ran = follow(page, folder, env, {"https://downloads.example.com": server.url})
    assert (ran > 0) == (page.name not in WITHOUT_COMMANDS)


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("```console\n$ echo yes\nno\n```\n", "shows"),
        ("```console\n$ false\n$ true\n```\n", "exit code 1"),
        ("```console\n$ false\n```\n", "exit code 1"),
        ("```console\n$ true\n$ echo $?\n5\n```\n", "exit code 0"),
        ("A file called `a`:\n\n```sh\nb\n```\n```console\n$ grep c a\n```\n", "exit code 1"),
        ("```console\n$ echo yes >&2\n```\n```text\nno\n```\n", "shows"),
    ],
)
def test_what_a_page_says_wrongly_is_found(page: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(page)
    with pytest.raises((AssertionError, pytest.fail.Exception), match=found):
        follow(tmp_path / "page.md", tmp_path, environment({}))
