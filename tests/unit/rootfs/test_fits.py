import shlex
import subprocess
from typing import Literal

import pytest

from lxcast.errors import CheckError
from lxcast.rootfs import rows
from lxcast.rootfs.cleanup import Cleanup
from lxcast.rootfs.fit import Fit, FitOptions
from lxcast.rootfs.fits import FITS
from lxcast.rootfs.fits.engine import HOSTS
from lxcast.rootfs.operations import OPERATIONS
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import DIR, LNK, REG, SYM, Member, directory, regular, symlink
from tests.unit.rootfs.pipeline import attributes, cleaned, fitted

ROWS = {row.id: row for row in FITS}
DEBIAN = regular(b"usr/lib/os-release", b'ID=debian\nVERSION_ID="12"\n')
ALPINE = regular(b"usr/lib/os-release", b"ID=alpine\n")
FEDORA = regular(b"usr/lib/os-release", b"ID=fedora\nVERSION_ID=41\n")
SYSTEMD = regular(b"usr/lib/systemd/systemd", b"\x7fELF", 0o755)
WANTS = b"etc/systemd/system/multi-user.target.wants/"


def run(row: str, *members: Member, options: FitOptions | None = None) -> tuple[dict[bytes, Member], list[str]]:
    out, _, fitting = fitted(members, [ROWS[row]], options)
    return out, fitting.report()[row]


def text(members: dict[bytes, Member], path: bytes) -> str:
    return bytes(members[path].head()).decode()


def program(path: bytes) -> Member:
    return regular(path, b"\x7fELF", 0o755)


def unit(name: str, install: str = "WantedBy=multi-user.target") -> Member:
    return regular(b"usr/lib/systemd/system/" + name.encode(), f"[Unit]\n\n[Install]\n{install}\n".encode())


def wants(name: str, target: str = "") -> Member:
    return symlink(WANTS + name.encode(), b"/lib/systemd/system/" + (target or name).encode())


DOCKER = (
    regular(b"etc/hostname", b"", 0o755, mtime=99),
    regular(b"etc/hosts", b"", 0o755, mtime=99),
    regular(b"etc/resolv.conf", b"", 0o755, mtime=99),
    symlink(b"etc/mtab", b"/proc/mounts", mtime=99),
)
LAYERS = (
    regular(b"etc/hostname", b"builder\n"),
    regular(b"etc/hosts", b"127.0.0.1 localhost builder\n"),
    symlink(b"etc/mtab", b"../proc/self/mounts"),
)
ENGINE_ROWS = [ROWS[id] for id in ("hostname", "hosts", "resolv-conf", "mtab")]


def test_what_an_engine_mounts_over_is_the_same_for_every_source() -> None:
    results = [
        {path: attributes(member) for path, member in fitted([directory(b"etc"), *source], ENGINE_ROWS)[0].items()}
        for source in (DOCKER, LAYERS, ())
    ]
    assert results[0] == results[1] == results[2]
    members, _, _ = fitted(DOCKER, ENGINE_ROWS)
    assert {path: (m.type, m.mode) for path, m in members.items() if path != b"etc"} == {
        b"etc/hostname": (REG, 0o644),
        b"etc/hosts": (REG, 0o644),
        b"etc/mtab": (SYM, 0o777),
        b"etc/resolv.conf": (REG, 0o644),
    }
    assert text(members, b"etc/hosts") == HOSTS
    assert text(members, b"etc/hostname") == text(members, b"etc/resolv.conf") == ""
    assert members[b"etc/mtab"].link == b"../proc/self/mounts"


@pytest.mark.parametrize(
    ("members", "target"),
    [
        ([wants("systemd-resolved.service")], b"../run/systemd/resolve/stub-resolv.conf"),
        ([directory(b"etc/resolvconf/update.d")], b"../run/resolvconf/resolv.conf"),
        ([unit("systemd-resolved.service")], b""),
    ],
)
def test_resolv_conf_belongs_to_what_is_there_to_keep_it(members: list[Member], target: bytes) -> None:
    out, notes = run("resolv-conf", *members, regular(b"etc/resolv.conf", b"nameserver 10.0.0.1\n"))
    assert out[b"etc/resolv.conf"].link == target
    assert len(notes) == 1


def test_a_directory_at_etc_hosts_stays() -> None:
    out, notes = run("hosts", directory(b"etc"), directory(b"etc/hosts"), regular(b"etc/hosts/x", b"y"))
    assert out[b"etc/hosts"].type == DIR
    assert b"etc/hosts/x" in out
    assert notes == ["left /etc/hosts unchanged: it is a directory"]


def test_placeholders_of_distrobuilder_are_replaced() -> None:
    hosts = regular(b"etc/hosts", b"127.0.1.1\tLXC_NAME\n")
    out, notes = run("lxc-name", hosts, regular(b"etc/hostname", b"mine\n", 0o600))
    assert text(out, b"etc/hosts") == "127.0.1.1\tlocalhost\n"
    assert (text(out, b"etc/hostname"), out[b"etc/hostname"].mode) == ("mine\n", 0o600)
    assert notes == ["replaced LXC_NAME in /etc/hosts"]


@pytest.mark.parametrize(
    ("members", "link"),
    [
        ([symlink(b"etc/os-release", b"/usr/lib/os-release"), DEBIAN], b"../usr/lib/os-release"),
        ([symlink(b"etc/os-release", b"../usr/lib/os-release"), DEBIAN], b"../usr/lib/os-release"),
        ([symlink(b"etc/os-release", b"/nowhere")], b"/nowhere"),
        (
            [
                symlink(b"etc/os-release", b"redhat-release"),
                symlink(b"etc/redhat-release", b"/usr/x"),
                program(b"usr/x"),
            ],
            b"../usr/x",
        ),
        ([symlink(b"etc/os-release", b"../opt/d/x"), symlink(b"opt/d", b"/opt/e"), program(b"opt/e/x")], b"../opt/e/x"),
    ],
)
def test_release_links_can_be_followed_from_the_node(members: list[Member], link: bytes) -> None:
    out, notes = run("relative-release-links", *members)
    assert out[b"etc/os-release"].link == link
    assert bool(notes) == any(member.link.startswith((b"/usr", b"/opt")) for member in members)


def test_the_release_file_reads_back_in_a_shell_as_it_was_given() -> None:
    release = {"NAME": "debian-12", "VERSION": "v4", "NOTE": "a \"b\" $HOME `id` \\n 'c' é"}
    out, _ = run("release", options=FitOptions(release=release))
    written = text(out, b"etc/lxcast-release")
    assert [line.split("=")[0] for line in written.splitlines()] == list(release)
    shown = subprocess.run(
        ["sh", "-c", written + 'printf "%s\\n" "$NAME" "$VERSION" "$NOTE"'], capture_output=True, check=True
    ).stdout.decode()
    assert shown.splitlines() == list(release.values())
    assert dict(word.split("=", 1) for word in shlex.split(written.replace("\\$", "$").replace("\\`", "`"))) == release


def test_missing_directories_are_created_and_existing_paths_stay() -> None:
    there = [directory(b"root", 0o755), symlink(b"home", b"/data/home"), symlink(b"var", b"data/var")]
    out, notes = run("standard-folders", *there)
    assert {path: out[path].mode for path in (b"dev", b"proc", b"sys", b"tmp", b"root", b"etc")} == {
        b"dev": 0o755,
        b"proc": 0o555,
        b"sys": 0o555,
        b"tmp": 0o1777,
        b"root": 0o755,
        b"etc": 0o755,
    }
    assert out[b"home"].type == out[b"var"].type == SYM
    assert [path for path in out if path.startswith(b"var/")] == []
    assert "created the directory /tmp" in notes
    assert "created the directory /root" not in notes
    assert run("standard-folders", *out.values())[1] == [note for note in notes if note.startswith("left")]


class TestNetwork:
    @pytest.mark.parametrize(
        ("members", "expected"),
        [
            ([DEBIAN], "auto lo\niface lo inet loopback\n"),
            ([ALPINE, program(b"sbin/ifup")], "auto lo\niface lo inet loopback\n"),
            (
                [DEBIAN, program(b"usr/sbin/ifup")],
                "auto lo\niface lo inet loopback\n\nsource /etc/network/interfaces.d/*\n",
            ),
            ([regular(b"etc/os-release", b'ID=ubuntu\nVERSION_ID="16.04"\n')], "auto lo\niface lo inet loopback\n"),
            ([regular(b"etc/os-release", b'ID=ubuntu\nVERSION_ID="24.04"\nID_LIKE=debian\n')], None),
            ([regular(b"etc/os-release", b'ID=linuxmint\nID_LIKE="ubuntu debian"\n')], None),
            ([FEDORA], None),
            ([DEBIAN, regular(b"etc/network/interfaces", b"# mine\n", 0o600)], "# mine\n"),
            ([DEBIAN, regular(b"etc/network/interfaces", b"\n")], "auto lo\niface lo inet loopback\n"),
        ],
    )
    def test_an_interfaces_file_is_made_where_it_is_read_and_missing(
        self, members: list[Member], expected: str | None
    ) -> None:
        out, notes = run("network", *members)
        assert (text(out, b"etc/network/interfaces") if b"etc/network/interfaces" in out else None) == expected
        assert bool(notes) == (expected is not None and "mine" not in expected)

    DHCP = FitOptions(network="dhcp")

    def test_dhcp_is_added_in_the_form_of_the_program_that_brings_the_network_up(self) -> None:
        ifup, networkd = program(b"usr/sbin/ifup"), program(b"usr/lib/systemd/systemd-networkd")
        manager = [program(b"usr/sbin/NetworkManager"), directory(b"etc/NetworkManager")]
        on = wants("systemd-networkd.service")

        out, _ = run("network", DEBIAN, ifup, program(b"sbin/dhclient"), networkd, on, options=self.DHCP)
        assert "auto eth0\niface eth0 inet dhcp\n" in text(out, b"etc/network/interfaces")
        assert run("network", *out.values(), options=self.DHCP)[1] == []

        out, _ = run("network", FEDORA, networkd, on, *manager, options=self.DHCP)
        assert "DHCP=yes" in text(out, b"etc/systemd/network/80-lxcast-eth0.network")

        out, _ = run("network", FEDORA, networkd, *manager, options=self.DHCP)
        keyfile = out[b"etc/NetworkManager/system-connections/lxcast-eth0.nmconnection"]
        assert keyfile.mode == 0o600
        assert WANTS + b"systemd-networkd.service" not in out

        out, _ = run("network", FEDORA, networkd, options=self.DHCP)
        assert out[WANTS + b"systemd-networkd.service"].link == b"/lib/systemd/system/systemd-networkd.service"

    def test_a_missing_client_is_said_and_a_missing_program_is_an_error(self) -> None:
        _, notes = run("network", DEBIAN, program(b"usr/sbin/ifup"), options=self.DHCP)
        assert any("no DHCP client" in note for note in notes)
        with pytest.raises(CheckError, match="network dhcp"):
            run("network", FEDORA, options=self.DHCP)

    def test_an_eth0_of_the_image_stays(self) -> None:
        mine = regular(b"etc/network/interfaces", b"iface eth0 inet static\n  address 10.0.0.2/24\n")
        out, _ = run("network", DEBIAN, program(b"usr/sbin/ifup"), program(b"sbin/udhcpc"), mine, options=self.DHCP)
        assert text(out, b"etc/network/interfaces").count("eth0") == 1


class TestSshHostKeys:
    SSHD = (SYSTEMD, program(b"usr/sbin/sshd"), program(b"usr/bin/ssh-keygen"), unit("ssh.service"))
    UNIT = b"etc/systemd/system/lxcast-ssh-host-keys.service"

    def test_debian_gets_a_unit_that_is_enabled(self) -> None:
        out, notes = run("ssh-host-keys-at-boot", *self.SSHD)
        assert "ExecStart=/usr/bin/ssh-keygen -A" in text(out, self.UNIT)
        assert out[WANTS + b"lxcast-ssh-host-keys.service"].link == b"/" + self.UNIT
        assert len(notes) == 2
        assert run("ssh-host-keys-at-boot", *out.values())[1] == []

    @pytest.mark.parametrize(
        "members",
        [
            SSHD[1:],
            (SYSTEMD, program(b"usr/bin/ssh-keygen")),
            (*SSHD, regular(b"etc/ssh/ssh_host_ed25519_key", b"key", 0o600)),
            (
                *SSHD,
                regular(b"usr/lib/systemd/system/sshd-keygen@.service", b"ExecStart=/usr/libexec/openssh/sshd-keygen"),
            ),
            (*SSHD, regular(b"usr/lib/systemd/system/sshd-keygen.service", b"ExecStart=/usr/bin/ssh-keygen -A\n")),
            (*SSHD, regular(b"usr/lib/systemd/system/sshdgenkeys.service", b"ExecStart=/usr/bin/ssh-keygen -A\n")),
            (*SSHD, regular(b"usr/lib/systemd/system/sshd.service", b"ExecStartPre=/usr/sbin/sshd-gen-keys-start\n")),
        ],
        ids=["no systemd", "no sshd", "keys kept", "fedora", "at every boot", "arch", "suse"],
    )
    def test_nobody_else_does(self, members: tuple[Member, ...]) -> None:
        assert self.UNIT not in run("ssh-host-keys-at-boot", *members)[0]

    def test_the_unit_of_debian_13_does_not_do_where_the_boot_is_not_the_first(self) -> None:
        vendor = b"[Unit]\nConditionFirstBoot=yes\n[Service]\nExecStart=ssh-keygen -A\n"
        members = (*self.SSHD, regular(b"usr/lib/systemd/system/sshd-keygen.service", vendor))
        assert self.UNIT in run("ssh-host-keys-at-boot", *members)[0]


MASKED = (b"sys-kernel-config.mount", b"sys-kernel-debug.mount", b"systemd-modules-load.service")


def test_units_that_fail_in_a_container_are_masked_where_they_are() -> None:
    vendor = [regular(b"usr/lib/systemd/system/" + name, b"[Unit]\n") for name in MASKED[1:]]
    mine = regular(b"etc/systemd/system/systemd-modules-load.service", b"mine")
    out, notes = run("container-masks", *vendor, mine)
    assert out[b"etc/systemd/system/sys-kernel-debug.mount"].link == b"/dev/null"
    assert text(out, mine.path) == "mine"
    assert b"etc/systemd/system/sys-kernel-config.mount" not in out
    assert notes == ["masked sys-kernel-debug.mount"]


def test_the_folder_for_consoles_is_made_where_systemd_is() -> None:
    assert run("getty-folder", SYSTEMD)[0][b"etc/systemd/system/getty.target.wants"].type == DIR
    assert run("getty-folder")[0] == {}


class TestUnits:
    PRESET = b"etc/systemd/system-preset/01-lxcast.preset"

    def lines(self, *members: Member) -> list[str]:
        out, _ = run("units", DEBIAN, SYSTEMD, *members)
        return [line for line in text(out, self.PRESET).splitlines() if not line.startswith("#")]

    def test_every_unit_that_can_be_enabled_is_named_by_its_state(self) -> None:
        assert self.lines(
            unit("on.service"),
            wants("on.service"),
            unit("off.service"),
            unit("off.timer"),
            unit("on.socket"),
            wants("on.socket"),
            unit("static.service", "# WantedBy=x.target"),
            unit("masked.service"),
            symlink(b"etc/systemd/system/masked.service", b"/dev/null"),
            unit("empty.service"),
            regular(b"etc/systemd/system/empty.service", b""),
            regular(b"etc/systemd/system/local.service", b"[Install]\nWantedBy = a.target \\\n b.target\n"),
            regular(b"etc/systemd/system/on.service.d/x.conf", b"[Install]\nWantedBy=x\n"),
        ) == [
            "enable on.service",
            "enable on.socket",
            "disable local.service",
            "disable off.service",
            "disable off.timer",
        ]

    def test_a_unit_that_is_a_hard_link_is_named(self) -> None:
        twin = Member(b"usr/lib/systemd/system/twin.service", LNK, link=b"usr/lib/systemd/system/on.service")
        assert self.lines(unit("on.service"), twin) == ["disable on.service", "disable twin.service"]

    def test_an_alias_enables_its_unit_and_is_no_unit_of_its_own(self) -> None:
        assert self.lines(
            unit("ssh.service", "Alias=sshd.service"),
            symlink(b"etc/systemd/system/sshd.service", b"/lib/systemd/system/ssh.service"),
            unit("other.service"),
            wants("another.service", "other.service"),
            symlink(b"usr/lib/systemd/system/dbus-org.x.service", b"other.service"),
        ) == ["enable other.service", "enable ssh.service"]

    def test_of_a_template_the_enabled_instances_are_named(self) -> None:
        getty = unit("getty@.service", "WantedBy=getty.target\nDefaultInstance=tty1")
        assert self.lines(getty, wants("getty@tty1.service", "getty@.service")) == ["enable getty@.service"]
        assert self.lines(
            getty, wants("getty@tty2.service", "getty@.service"), wants("getty@tty1.service", "getty@.service")
        ) == ["enable getty@.service tty1 tty2"]
        assert self.lines(getty) == ["disable getty@.service"]

    def test_a_unit_linked_from_elsewhere_is_named(self) -> None:
        linked = symlink(b"etc/systemd/system/app.service", b"/opt/app/app.service")
        assert self.lines(linked, regular(b"opt/app/app.service", b"")) == ["disable app.service"]
        assert self.lines(linked, wants("app.service")) == ["enable app.service"]

    def test_units_in_also_stay_disabled_if_presets_allow_it(self) -> None:
        members = (
            unit("networkd.service", "WantedBy=multi-user.target\nAlso=networkd.socket wait.service"),
            unit("networkd.socket", "WantedBy=sockets.target"),
            unit("wait.service", "WantedBy=network-online.target"),
            wants("networkd.service"),
            wants("networkd.socket"),
        )
        assert self.lines(*members) == ["enable networkd.socket", "disable networkd.service", "disable wait.service"]
        out, notes = run("units", FEDORA, SYSTEMD, *members)
        assert "enable networkd.service\n" in text(out, self.PRESET)
        assert any("the first boot enables wait.service because of Also= in networkd.service" in note for note in notes)

    def test_without_systemd_nothing_is_written(self) -> None:
        assert self.PRESET not in run("units", ALPINE, unit("on.service"))[0]


IMAGES: dict[str, tuple[Member, ...]] = {
    "debian": (
        directory(b"etc"),
        *DOCKER,
        symlink(b"etc/os-release", b"/usr/lib/os-release"),
        DEBIAN,
        SYSTEMD,
        *TestSshHostKeys.SSHD[1:],
        wants("ssh.service"),
        unit("apt-daily.timer"),
        regular(b"etc/ssh/ssh_host_rsa_key", b"key", 0o600),
        regular(b"etc/machine-id", b"0123\n", 0o444),
        regular(b"var/log/dpkg.log", b"built"),
        regular(b"var/log/old.1", b"built"),
        regular(b"tmp/x", b"y"),
    ),
    "alpine": (directory(b"etc"), *LAYERS, ALPINE, program(b"sbin/ifup"), program(b"sbin/udhcpc")),
    "scratch": (program(b"app"),),
}


IMAGES["debian with ifupdown"] = (*IMAGES["debian"], program(b"usr/sbin/ifup"), program(b"usr/sbin/dhclient"))


@pytest.mark.parametrize(
    ("image", "network"),
    [*((image, "loopback") for image in IMAGES), ("debian with ifupdown", "dhcp"), ("alpine", "dhcp")],
)
def test_cleaning_and_fitting_the_result_again_changes_nothing(
    image: str, network: Literal["loopback", "dhcp"]
) -> None:
    options = FitOptions(network=network, release={"NAME": "x"}, epoch=5)
    operations, fits = rows.select(OPERATIONS, FITS, enable=("release",))
    first, order, _ = fitted(cleaned(IMAGES[image], Cleanup(operations)), fits, options)
    again, second_order, fitting = fitted(cleaned(first.values(), Cleanup(operations)), fits, options)
    assert order == second_order
    assert [path for path in first if attributes(first[path]) != attributes(again[path])] == []
    assert [note for notes in fitting.report().values() for note in notes] == []


def test_rows_name_what_they_hold_and_are_unique_over_both_tables() -> None:
    ids = [row.id for row in (*OPERATIONS, *FITS)]
    assert len(ids) == len(set(ids))
    assert not {"add", "remove"} & set(ids)
    assert [row.id for row in FITS if not (row.heading and row.why.endswith("."))] == []


@pytest.mark.parametrize("row", FITS, ids=lambda row: row.id)
def test_a_row_on_an_empty_root_filesystem_does_no_harm(row: Fit) -> None:
    survey = Survey()
    for member in fitted([], [row])[0].values():
        survey.see(member)
    assert survey.quirks.repeated == []
