from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcast.rootfs.distribution import OSTYPES, READS, Distribution, detect, machine, os_release
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import LNK, Member, directory, regular, symlink
from tests.unit.rootfs.filesystems import elf, minimal_debian, program, without


def survey_of(members: Iterable[Member]) -> Survey:
    survey = Survey(reads=READS)
    for member in members:
        survey.see(member)
    return survey


def detected(files: dict[str, str]) -> Distribution:
    """Detect a filesystem of files below /etc, or below the root where a name begins with "/"."""
    members = [
        regular((name[1:] if name[0] == "/" else f"etc/{name}").encode(), t.encode()) for name, t in files.items()
    ]
    return detect(survey_of(members))


def os(id: str, version: str = "", **files: str) -> dict[str, str]:
    text = f"ID={id}\n" + (f"VERSION_ID={version}\n" if version else "")
    return {"os-release": text, **{name.replace("__", "-"): content for name, content in files.items()}}


UBUNTU = "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE={}\nDISTRIB_CODENAME=x\n"

TAKEN = [
    # (files, ostype, version that Proxmox compares, release)
    (os("debian", '"12"', debian_version="12.7\n"), "debian", 12, "12"),
    (os("debian", debian_version="13\n"), "debian", 13, "13"),
    (os("debian", debian_version="4.0"), "debian", 4, "4"),
    (os("debian", debian_version="trixie/sid\n"), "debian", 13, "13"),
    (os("debian", debian_version="forky/sid\n"), "debian", 14, "14"),
    (os("debian", debian_version="14.2\n"), "debian", 14, "14"),
    (os("kali", '"2024.4"', debian_version="kali-rolling\n"), "debian", 12, "2024.4"),
    (os("raspbian", '"12"', debian_version="12.1\n"), "debian", 12, "12"),
    (os("linuxmint", '"22"', debian_version="trixie/sid\n", lsb__release="DISTRIB_ID=LinuxMint\n"), "debian", 13, "22"),
    (os("devuan", '"5"', devuan_version="Daedalus\n"), "devuan", 12, "5"),
    (os("devuan", devuan_version="excalibur/ceres\n"), "devuan", 13, "13"),
    (os("ubuntu", '"24.04"', lsb__release=UBUNTU.format("24.04")), "ubuntu", 24.04, "24.04"),
    (os("ubuntu", '"26.10"', lsb__release=UBUNTU.format("26.10")), "ubuntu", 26.10, "26.10"),
    ({**os("ubuntu", lsb__release=UBUNTU.format("14.04")), "init/tty1.conf": ""}, "ubuntu", 14.04, "14.04"),
    (
        {**os("ubuntu", lsb__release=UBUNTU.format("12.04")), "init/tty1.conf": "", "udev/udev.conf": ""},
        "ubuntu",
        12.04,
        "12.04",
    ),
    (os("pop", '"22.04"', lsb__release=UBUNTU.format("22.04").upper()), "ubuntu", 22.04, "22.04"),
    (os("alpine", "3.20.3"), "alpine", 0, "3.20.3"),
    (os("postmarketos", "v24.06", alpine__release="3.20"), "alpine", 0, "v24.06"),
    (os("arch"), "archlinux", 0, ""),
    (os("archlinux"), "archlinux", 0, ""),
    (os("artix", arch__release=""), "archlinux", 0, ""),
    (os("fedora", "41"), "fedora", 41, "41"),
    (os("fedora", "22", redhat__release="Fedora release 22 (Twenty Two)\n"), "fedora", 22, "22"),
    (os("fedora", "25"), "fedora", 25, "25"),
    (os("centos", '"9"', redhat__release="CentOS Stream release 9\n"), "centos", 9, "9"),
    (os('"rocky"', '"9.4"', redhat__release="Rocky Linux release 9.4 (Blue Onyx)\n"), "centos", 9.4, "9.4"),
    (os("almalinux", '"10.0"', redhat__release="AlmaLinux release 10.0 (x)\n"), "centos", 10, "10.0"),
    (os("rhel", '"8.10"', redhat__release="Red Hat Enterprise Linux release 8.10 (Ootpa)\n"), "centos", 8.1, "8.10"),
    (os("ol", '"9.5"', redhat__release="Red Hat Enterprise Linux release 9.5 (Plow)\n"), "centos", 9.5, "9.5"),
    (
        {**os("centos", redhat__release="CentOS release 5.11 (Final)"), "rc.d/rc.sysinit": ""},
        "centos",
        5.11,
        "5.11",
    ),
    (os("centos", '"7"', redhat__release="CentOS Linux release 7.9.2009 (Core)\n"), "centos", 7.9, "7"),
    (os('"opensuse-leap"', '"15.6"'), "opensuse", 15.6, "15.6"),
    (os('"opensuse-leap"', "'16.0'"), "opensuse", 16, "16.0"),
    (os("opensuse-leap", '"42.3"'), "opensuse", 42.3, "42.3"),
    (os('"opensuse-tumbleweed"', '"20250101"'), "opensuse", 20250101, "20250101"),
    (os('"opensuse-slowroll"', '"20240901"'), "opensuse", 20240901, "20240901"),
    (os('"sles"', '"12.5"'), "opensuse", 12.5, "12.5"),
    (os("opensuse", '"13.2"'), "opensuse", 13.2, "13.2"),
    (os('"openEuler"', '"24.03"', redhat__release="openEuler release 24.03 (LTS)"), "openeuler", 24.03, "24.03"),
    (os("nixos", '"24.11"'), "nixos", 0, "24.11"),
    (
        {
            **os("gentoo", gentoo__release="Gentoo Base System release 2.17\n", inittab=""),
            "conf.d/hostname": 'hostname="x"\n',
        },
        "gentoo",
        0,
        "",
    ),
    ({"debian_version": "12.0\n"}, "debian", 12, "12"),
    ({"/usr/lib/os-release": "ID=fedora\nVERSION_ID=41\n"}, "fedora", 41, "41"),
    (os("unmanaged"), "unmanaged", 0, ""),
]


@pytest.mark.parametrize(("files", "ostype", "version", "release"), TAKEN, ids=str)
def test_taken(files: dict[str, str], ostype: str, version: float, release: str) -> None:
    found = detected(files)
    assert (found.ostype, found.version, found.release, found.problems) == (ostype, version, release, ())


REFUSED = [
    # (files, a part of the message, the file it is about)
    (os("wolfi", "20230201"), "not support ID=wolfi", "etc/os-release"),
    (os("chainguard"), "not support ID=chainguard", "etc/os-release"),
    (os('"amzn"', '"2023"'), "not support ID=amzn", "etc/os-release"),
    (os("void"), "not support ID=void", "etc/os-release"),
    (os("archarm"), "not support ID=archarm", "etc/os-release"),
    (os('"opensuse-microos"', '"20250101"'), "not support ID=opensuse-microos", "etc/os-release"),
    ({"os-release": "NAME=x\n"}, "not support ID=(none)", "etc/os-release"),
    (os("debian", '"12"'), "missing", "etc/debian_version"),
    (os("debian", debian_version=""), "empty", "etc/debian_version"),
    (os("debian", debian_version="sid\n"), "'sid'", "etc/debian_version"),
    (os("debian", debian_version="trixie/sid\r\n"), "no version", "etc/debian_version"),
    (os("debian", debian_version="3.1\n"), "Debian 4 and later", "etc/debian_version"),
    (os("devuan", devuan_version="freia\n"), "'freia'", "etc/devuan_version"),
    (os("devuan", devuan_version="jessie/ceres\n"), "'jessie/ceres'", "etc/devuan_version"),
    (os("ubuntu", '"24.04"'), "missing", "etc/lsb-release"),
    (os("ubuntu", lsb__release='DISTRIB_ID="Ubuntu"\nDISTRIB_RELEASE=24.04\n'), "DISTRIB_ID=Ubuntu", "etc/lsb-release"),
    (os("ubuntu", lsb__release="DISTRIB_ID=Ubuntu\n"), "DISTRIB_RELEASE", "etc/lsb-release"),
    (os("ubuntu", lsb__release=UBUNTU.format("14.10")), "14.10, which is too old", "etc/lsb-release"),
    (os("centos", '"9"'), "missing", "etc/redhat-release"),
    (os("centos", redhat__release="CentOS Stream release 11\n"), "releases 5 to 10", "etc/redhat-release"),
    (os("centos", redhat__release="CentOS release 4.9\n"), "releases 5 to 10", "etc/redhat-release"),
    (os("rocky", redhat__release="Rocky\n"), "no version", "etc/redhat-release"),
    (os("fedora"), "no VERSION_ID", "etc/os-release"),
    (os("fedora", "21"), "VERSION_ID=21", "etc/os-release"),
    (os("fedora", "rawhide"), "VERSION_ID=rawhide", "etc/os-release"),
    (os("opensuse-leap", "15.6"), 'VERSION_ID="15.6"', "etc/os-release"),
    (os("opensuse", '"17.0"'), "VERSION_ID=17.0", "etc/os-release"),
    (os("opensuse", '"12.5"'), "VERSION_ID=12.5", "etc/os-release"),
    (os("opensuse", '"13.3"'), "VERSION_ID=13.3", "etc/os-release"),
    (os('"opensuse-tumbleweed"', '"20161231"'), "dates from 2017", "etc/os-release"),
    (os('"opensuse-tumbleweed"'), "VERSION_ID=(none)", "etc/os-release"),
    (os('"openEuler"', '"22.03"'), "openEuler 24 and later", "etc/os-release"),
    (os('"openEuler"', '"24.03"'), "release N", "etc/redhat-release"),
    (os("gentoo"), "missing", "etc/gentoo-release"),
    (os("gentoo", gentoo__release="Funtoo 1\n"), "Gentoo Base System release", "etc/gentoo-release"),
    (os("gentoo", gentoo__release="Gentoo Base System release 2\n"), "edits it", "etc/inittab"),
    ({}, "/etc/os-release is missing", None),
    # Very old releases without the files that Proxmox edits in them
    (os("ubuntu", lsb__release=UBUNTU.format("14.04")), "edits it", "etc/init"),
    ({**os("ubuntu", lsb__release=UBUNTU.format("12.04")), "init/x": ""}, "edits it", "etc/udev/udev.conf"),
    (os("centos", redhat__release="CentOS release 6.10 (Final)\n"), "edits it", "etc/rc.d/rc.sysinit"),
    (os("fedora", "22"), "release N", "etc/redhat-release"),
    ({**os("fedora", "27"), "sysconfig/network": ""}, "release N", "etc/redhat-release"),
]


@pytest.mark.parametrize(("files", "message", "path"), REFUSED, ids=str)
def test_refused(files: dict[str, str], message: str, path: str | None) -> None:
    (problem,) = detected(files).problems
    assert message in problem.message
    assert problem.path == (path.encode() if path else None)
    assert problem.level == "error"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (os("debian", debian_version="15.1\n"), "Debian 15 is newer than 14"),
        (os("debian", debian_version="duke/sid\n"), "Debian 15"),
        (os("ubuntu", lsb__release=UBUNTU.format("27.04")), "Ubuntu 27.04"),
        (os("ubuntu", lsb__release=UBUNTU.format("24.05")), "Ubuntu 24.05"),
    ],
)
def test_a_release_newer_than_proxmox_knows_is_taken_with_a_warning(files: dict[str, str], message: str) -> None:
    found = detected(files)
    assert found.ostype in ("debian", "ubuntu")
    (problem,) = found.problems
    assert message in problem.message
    assert problem.level == "warning"


def test_an_absolute_link_to_a_version_file_is_refused_since_the_node_follows_it() -> None:
    members = [
        regular(b"etc/os-release", b"ID=debian\n"),
        symlink(b"etc/debian_version", b"/usr/lib/debian_version"),
        regular(b"usr/lib/debian_version", b"12.7\n"),
    ]
    (problem,) = detect(survey_of(members)).problems
    assert problem.path == b"etc/debian_version"
    assert "/usr/lib/debian_version" in problem.message
    assert "relative" in problem.message


def test_links_and_hard_links_that_stay_inside_are_followed() -> None:
    members = [
        symlink(b"etc/os-release", b"/usr/lib/os-release"),
        regular(b"usr/lib/os-release", b'ID="rocky"\n'),
        symlink(b"etc/redhat-release", b"rocky-release"),
        regular(b"etc/first-release", b"Rocky Linux release 9.4\n"),
        Member(b"etc/rocky-release", LNK, link=b"etc/first-release"),
    ]
    found = detect(survey_of(members))
    assert (found.ostype, found.version, found.problems) == ("centos", 9.4, ())


def test_a_nix_store_makes_nixos_of_an_unknown_id() -> None:
    members = [regular(b"etc/os-release", b"ID=mine\n"), directory(b"nix"), directory(b"nix/store")]
    assert detect(survey_of(members)).ostype == "nixos"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("ID=debian", "debian"),
        ("  ID=debian", "debian"),
        ("ID=opensuse-leap", "opensuse"),
        ("ID=15.6", "15"),
        ("ID='a \"b'", 'a "b'),
        ('ID="a b"rest', "a b"),
        (r'ID="\"\$\\\n\x"', '"$\\\n\\x'),
        ('ID="never closed', ""),
        ("ID=", ""),
        ("ID=debian\r", "debian"),
        ("ID=first\nID=last", "last"),
    ],
)
def test_os_release_is_parsed_as_proxmox_does(line: str, value: str) -> None:
    assert os_release(line + "\n") == {"ID": value}


@pytest.mark.parametrize("text", ["#ID=debian", "ID = debian", "export ID=debian", "1D=x", ""])
def test_other_lines_of_os_release_say_nothing(text: str) -> None:
    assert os_release(text) == {}


FILES = ["debian_version", "devuan_version", "lsb-release", "redhat-release", "gentoo-release", "os-release"]
SEEN = [b"ID", b"VERSION_ID", b"DISTRIB_ID=Ubuntu\n", b"DISTRIB_RELEASE", b"release ", *(o.encode() for o in OSTYPES)]
PIECES = st.lists(st.sampled_from([*SEEN, b"=", b'"', b"'", b"\\", b"\n", b".", b"9" * 5000]) | st.binary(max_size=9))


@given(st.dictionaries(st.sampled_from(FILES), PIECES.map(b"".join)))
def test_any_bytes_in_the_files_give_an_answer(contents: dict[str, bytes]) -> None:
    members = [regular(b"etc/" + name.encode(), content) for name, content in contents.items()]
    found = detect(survey_of(members))
    assert found.ostype in OSTYPES or (found.ostype == "" and found.problems)


@pytest.mark.parametrize(
    ("head", "arch"), [("amd64", "amd64"), ("arm64", "arm64"), ("i386", "i386"), ("armhf", "armhf")]
)
def test_the_machine_is_that_of_the_shell(head: str, arch: str) -> None:
    assert machine(survey_of(minimal_debian(head))) == arch


@pytest.mark.parametrize(("bits", "arch"), [(1, "riscv32"), (2, "riscv64"), (3, "")])
def test_riscv_is_told_by_its_class(bits: int, arch: str) -> None:
    head = bytearray(elf())
    head[4], head[18] = bits, 0xF3
    assert machine(survey_of([regular(b"bin/sh", bytes(head), 0o755)])) == arch


@pytest.mark.parametrize(
    "members",
    [
        without(minimal_debian(), b"usr/bin/sh"),
        without(minimal_debian(), b"usr/bin/dash"),
        minimal_debian("s390x"),
        [regular(b"bin/sh", b"#!/bin/true\n", 0o755)],
        [regular(b"bin/sh", b"", 0o755)],
        [directory(b"bin/sh")],
    ],
    ids=["no-shell", "dangling", "unknown-machine", "script", "empty", "folder"],
)
def test_no_machine_is_found_where_proxmox_finds_none(members: list[Member]) -> None:
    assert machine(survey_of(members)) == ""


def test_nixos_has_its_machine_in_the_interpreter_of_init() -> None:
    members = [
        directory(b"nix/store"),
        program(b"nix/store/bash", "arm64"),
        regular(b"sbin/init", b"#! /nix/store/bash\nexec something\n", 0o755),
    ]
    assert machine(survey_of(members)) == "arm64"
