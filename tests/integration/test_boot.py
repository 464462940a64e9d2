"""The promise that all others serve: a template made from a Docker image boots on Proxmox as its author built it.

The template is unpacked and set up as a Proxmox node does it, and started by the real LXC, unprivileged.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration import proxmox_node
from tests.integration.lxc import Container, boot
from tests.integration.tools import Program

PASSWORD = "correct horse battery staple"
LIST_ENABLED = ["systemctl", "list-unit-files", "--state=enabled", "--no-legend", "--no-pager"]
PROXMOX_ENABLES = {"container-getty@.service"}
PROXMOX_DISABLES = {"getty@.service", "systemd-networkd.service"}


@pytest.fixture(scope="module")
def template(lxc: Path, service_image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `lxcast build` makes of the service image: systemd, sshd, and apt-daily.timer disabled."""
    storage = tmp_path_factory.mktemp("storage")
    source = f"docker-daemon:{service_image}"
    python = Program(Path(sys.executable))
    volid = python.run("-m", "lxcast", "build", source, "--name", "debian-12", "--storage", storage).stdout
    return storage / "template/cache" / volid.strip().removeprefix("local:vztmpl/")


@pytest.fixture(scope="module")
def node(lxc: Path) -> Iterator[Path]:
    with proxmox_node.storage() as folder:
        yield folder


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key; the public one lies beside it."""
    file = tmp_path_factory.mktemp("key") / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file


def names(listing: str) -> set[str]:
    return {line.split()[0] for line in listing.splitlines()}


@contextmanager
def created(template: Path, root: Path, key: Path, address: str) -> Iterator[Container]:
    """Start a container as `pct create` with an address, a root password and a key makes it."""
    proxmox_node.unpack(template, root)
    public = key.with_suffix(".pub").read_text()
    ostype = proxmox_node.create(root, root.name, ssh_public_keys=public, password=PASSWORD, address=address)
    assert ostype == "debian"
    with boot(root, root.name, address=address) as container:
        container.wait_running()
        yield container


@contextmanager
def unmanaged(root: Path) -> Iterator[Container]:
    """Start a container to which Proxmox did nothing."""
    assert proxmox_node.create(root, root.name, ostype="unmanaged") == "unmanaged"
    with boot(root, root.name) as container:
        container.wait_running()
        yield container


def identity(container: Container) -> tuple[str, set[str]]:
    """The machine-id, and the host keys that sshd shows."""
    return container.run(["cat", "/etc/machine-id"]).stdout, container.host_keys()


@pytest.fixture(scope="module")
def bare(template: Path, node: Path) -> Path:
    """The template as it is unpacked."""
    proxmox_node.unpack(template, node / "bare")
    return node / "bare"


@pytest.fixture(scope="module")
def image_units(bare: Path) -> set[str]:
    """What is enabled in the template before its first start."""
    return names(Program(Path("/usr/sbin/chroot")).run(bare, *LIST_ENABLED).stdout)


@pytest.fixture(scope="module")
def web(template: Path, node: Path, key: Path) -> Iterator[Container]:
    with created(template, node / "web", key, "10.0.3.2/24") as container:
        yield container


def test_systemd_reaches_running_with_no_failed_unit(web: Container) -> None:
    assert web.run(["systemctl", "is-system-running"]).stdout.strip() == "running"
    assert web.run(["systemctl", "list-units", "--failed", "--no-legend", "--plain"]).stdout == ""
    assert web.run(["cat", "/proc/self/uid_map"]).stdout.split() == ["0", "100000", "65536"]


def test_proxmox_names_and_addresses_the_container(web: Container, key: Path) -> None:
    assert web.ssh(key, "hostname").stdout == "web\n"
    assert "10.0.3.2/24" in web.run(["ip", "-brief", "address", "show", "eth0"]).stdout
    assert web.run(["getent", "hosts", "web"]).stdout.split()[0] == "10.0.3.2"


def test_root_logs_in_with_the_key_that_proxmox_put_in(web: Container, key: Path) -> None:
    done = web.ssh(key, "id --user")
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_a_stranger_with_another_key_is_refused(web: Container, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    done = web.ssh(other, "true")
    assert done.returncode == 255
    assert "Permission denied" in done.stderr


def test_the_right_password_of_root_is_refused(web: Container) -> None:
    assert web.ssh_password_refused(PASSWORD)


def test_units_are_enabled_and_disabled_as_the_image_left_them(image_units: set[str], web: Container) -> None:
    after = names(web.run(LIST_ENABLED).stdout)
    assert "ssh.service" in after
    assert "apt-daily.timer" not in after
    assert after - PROXMOX_ENABLES == image_units - PROXMOX_DISABLES
    assert web.run(["systemctl", "is-active", "ssh.service"]).stdout == "active\n"
    assert web.run(["systemctl", "is-active", "apt-daily.timer"], check=False).stdout == "inactive\n"


def test_two_containers_of_one_template_share_no_identity(
    web: Container, template: Path, node: Path, key: Path
) -> None:
    with created(template, node / "mail", key, "10.0.4.2/24") as mail:
        (first, first_keys), (second, second_keys) = identity(web), identity(mail)
    assert re.fullmatch(r"[0-9a-f]{32}\n", first)
    assert first != second
    assert first_keys
    assert not first_keys & second_keys


def test_unmanaged_containers_make_their_own_identity_and_keep_it(bare: Path, template: Path, node: Path) -> None:
    proxmox_node.unpack(template, node / "other")
    with unmanaged(bare) as one, unmanaged(node / "other") as other:
        (first, first_keys), (second, second_keys) = identity(one), identity(other)
    assert first != second
    assert first_keys
    assert not first_keys & second_keys
    with unmanaged(bare) as again:
        assert identity(again) == (first, first_keys)


def test_a_privileged_container_boots_as_well(template: Path, node: Path, key: Path) -> None:
    proxmox_node.unpack(template, node / "whole", unprivileged=False)
    proxmox_node.create(node / "whole", "whole", ssh_public_keys=key.with_suffix(".pub").read_text())
    with boot(node / "whole", "whole", unprivileged=False) as container:
        container.wait_running()
        assert container.ssh(key, "cat /proc/self/uid_map").stdout.split() == ["0", "0", "4294967295"]
