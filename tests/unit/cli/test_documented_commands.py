"""The `pveum` commands of the how-to pages, on the stand-in server: they are enough, and no privilege is too many."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from lxcast.tar.member import regular
from lxcast.testing import EVERYTHING, ROLES, Acl, Cluster, Task, Token
from tests.documents import REPOSITORY, blocks
from tests.session import follow
from tests.unit.cli.proxmox import access, held
from tests.unit.cli.running import archive, environment, lxcast
from tests.unit.rootfs.filesystems import minimal_debian

PAGES = {name: REPOSITORY / "docs" / "how-to" / f"{name}.md" for name in ("publish", "clear-a-storage")}


class Access:
    """What `pveum` commands make: roles, users, tokens and entries of the list."""

    def __init__(self, page: Path, without: str = "") -> None:
        self.roles: dict[str, tuple[str, ...]] = {}
        self.users: list[str] = []
        self.tokens: list[Token] = []
        self.acl: list[Acl] = []
        for block in blocks(page):
            for line in block.text.splitlines() if block.language == "sh" else ():
                if line.startswith("pveum "):
                    self.run(shlex.split(line)[1:], without)

    def run(self, words: list[str], without: str) -> None:
        options = {words[at]: words[at + 1] for at in range(len(words)) if words[at].startswith("--")}
        match words:
            case ["role", "add", role, *_]:
                self.roles[role] = tuple(each for each in options["--privs"].split() if each != without)
            case ["user", "add", user, *_]:
                self.users.append(user)
            case ["acl", "modify", path, *_]:
                assert options["--users"] in self.users
                self.acl.append(Acl(path, options["--users"], self.roles[options["--roles"]]))
            case ["user", "token", "add", user, name, *_]:
                assert user in self.users
                self.tokens.append(Token(f"{user}!{name}", "1" * 36, privsep=options["--privsep"] == "1"))
            case _:
                pytest.fail(f"what is pveum {' '.join(words)}")


@contextmanager
def cluster(page: str, without: str = "") -> Iterator[Cluster]:
    made = Access(PAGES[page], without)
    assert len(made.tokens) == 1
    with Cluster(("pve", "pve2"), tokens=made.tokens, acl=made.acl) as server:
        yield server


def run(server: Cluster, tmp_path: Path, *words: str | Path) -> CompletedProcess[str]:
    told = lxcast(*words, cwd=tmp_path, environ=access(server, tmp_path))
    assert "bug in lxcast" not in told.stderr
    return told


def test_the_page_about_publishing_does_what_it_shows(commands: Path, tmp_path: Path) -> None:
    """The reader has made the token as the page shows, and put its secret into the file that the page names."""
    made = Access(PAGES["publish"])
    folder, home = tmp_path / "reader", tmp_path / "home"
    folder.mkdir()
    (folder / "rootfs.tar").write_bytes(archive([*minimal_debian(), regular(b"srv", b"x")]))
    (home / ".config/lxcast").mkdir(parents=True)
    (home / ".config/lxcast/ci.token").write_text(made.tokens[0].secret)
    with Cluster(("pve1",), tokens=made.tokens, acl=made.acl) as server:
        env = environment({"HOME": str(home), "SSL_CERT_FILE": str(server.ca), "NO_PROXY": "127.0.0.1"})
        env["PATH"] = f"{commands}:{env['PATH']}"
        assert follow(PAGES["publish"], folder, env, {"pve1.example": server.url}) == 5
        assert held(server, "debian-12-v1.tar.zst")
        assert held(server, "web-v1.tar.zst")


def granted(page: str) -> list[str]:
    return [name for privileges in Access(PAGES[page]).roles.values() for name in privileges]


def test_the_role_that_publishes_is_enough_without_a_warning(tmp_path: Path, template: Path) -> None:
    with cluster("publish") as server:
        for node in ("pve", "pve2", "pve"):
            told = run(server, tmp_path, "publish", template, "--node", node)
            assert told.returncode == 0, told.stderr
            assert "warning" not in told.stderr
        assert run(server, tmp_path, "list", "--storage", "proxmox:").returncode == 0
        assert run(server, tmp_path, "doctor", "--all-nodes").returncode == 0


@pytest.mark.parametrize("privilege", granted("publish"))
def test_the_role_that_publishes_has_no_privilege_too_many(tmp_path: Path, template: Path, privilege: str) -> None:
    with cluster("publish", without=privilege) as server:
        told = run(server, tmp_path, "publish", template)
        assert told.returncode != 0 or re.search("of other users|compare a checksum", told.stderr), told


def test_the_role_that_publishes_removes_nothing(tmp_path: Path, template: Path) -> None:
    with cluster("publish") as server:
        run(server, tmp_path, "publish", template)
        told = run(server, tmp_path, "remove", template.name, "--storage", "proxmox:", "--apply")
        assert (told.returncode, "lacks Datastore.Allocate" in told.stderr) == (9, True)
        assert held(server, template.name)


def prune(server: Cluster, tmp_path: Path) -> CompletedProcess[str]:
    """Prune two versions, of which a hypervisor's own user made a container from the older one."""
    for number in (1, 2, 3):
        (server.storages["local"].folder("pve") / f"web-v{number}.tar.zst").write_bytes(b"x")

    def work(task: Task) -> None:
        task.log.append("extracting archive '/var/lib/vz/template/cache/web-v1.tar.zst'")

    server.tasks.start("pve", "vzcreate", "100", "root@pam", work)
    server.tasks.wait()
    return run(server, tmp_path, "prune", "--keep", "1", "--storage", "proxmox:pve/local", "--apply")


def test_the_role_that_prunes_is_enough(tmp_path: Path) -> None:
    with cluster("clear-a-storage") as server:
        told = prune(server, tmp_path)
        assert told.returncode == 0, told.stderr
        assert [line.split()[0] for line in told.stdout.splitlines()[1:]] == ["keep", "remove", "keep"]
        assert "container 100 on pve was created from it" in told.stdout


@pytest.mark.parametrize("privilege", granted("clear-a-storage"))
def test_the_role_that_prunes_has_no_privilege_too_many(tmp_path: Path, privilege: str) -> None:
    with cluster("clear-a-storage", without=privilege) as server:
        told = prune(server, tmp_path)
        assert told.returncode != 0 or "container 100" not in told.stdout


def test_the_privileges_are_proxmoxs(tmp_path: Path) -> None:
    known = {name for privileges in ROLES.values() for name in privileges} | set(EVERYTHING)
    assert {name for page in PAGES for name in granted(page)} <= known
