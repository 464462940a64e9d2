"""The init that is written where there is none: what it hands to the program, and what it would need."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxcast.model import ImageConfig, Mount
from lxcast.rootfs.fit import FitOptions
from lxcast.rootfs.fits.init import FITS
from lxcast.rootfs.init import READS, is_written, write_init
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import LNK, Member, directory, regular, symlink
from tests.unit.rootfs.filesystems import minimal_debian, program, replaced, without
from tests.unit.rootfs.pipeline import fitted

NO_INIT = without(minimal_debian(), b"usr/sbin/init")
COREUTILS = [program(b"usr/bin/env"), program(b"usr/bin/setpriv")]
RUN = ImageConfig(cmd=("/bin/app", "x"), env=("A=b",))
BUSYBOX = [
    directory(b"bin"),
    directory(b"etc"),
    program(b"bin/busybox"),
    *(symlink(b"bin/" + name, b"busybox") for name in (b"sh", b"env", b"su", b"setpriv", b"chroot")),
    regular(b"etc/passwd", b"root:x:0:0::/root:/bin/sh\napp:x:1000:100::/home/app:/bin/sh\n"),
    regular(b"etc/group", b"root:x:0:\nusers:x:100:\naudio:x:63:app,root\n"),
]
PRINTER = """\
import os, sys
for each in [*map(os.fsencode, sys.argv[1:]), *(name + b"=" + value for name, value in os.environb.items())]:
    os.write(1, each + b"\\0")
"""
SHELLS = [shell for shell in (["/bin/sh"], ["busybox", "sh"], ["bash", "--posix"]) if shutil.which(shell[0])]


def survey(members: Iterable[Member]) -> Survey:
    made = Survey(reads=READS)
    for member in members:
        made.see(member)
    return made


def command(members: Iterable[Member], config: ImageConfig) -> str:
    """Return what the script executes."""
    script, problems = write_init(survey(members), config)
    assert problems == []
    return script.partition("start() {\n\texec ")[2].partition("\n}")[0]


def problems(members: Iterable[Member], config: ImageConfig, *, dhcp: bool = False) -> list[str]:
    script, found = write_init(survey(members), config, dhcp=dhcp)
    assert script == ""
    return found


def place(config: ImageConfig | None, *, members: list[Member], network: str = "loopback") -> list[str]:
    """Return the paths that the row makes, with its sentence as the last one."""
    before = {member.path: member for member in members}
    options = FitOptions(process=config, network="dhcp" if network == "dhcp" else "loopback")
    after, _, fitting = fitted(members, FITS, options)
    changed = [path.decode() for path in after if after[path] is not before.get(path) and path not in before]
    changed += [path.decode() for path in before if after[path].type != before[path].type]
    return [*changed, *fitting.report()["written-init"]]


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NAME = st.text(st.characters(exclude_characters="\0=", exclude_categories=["Cs"]), min_size=1, max_size=8)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@settings(max_examples=40)
@given(arguments=st.lists(TEXT, max_size=5), variables=st.dictionaries(NAME, TEXT, max_size=4))
def test_a_program_gets_its_arguments_and_variables_byte_for_byte(
    shell: list[str], arguments: list[str], variables: dict[str, str]
) -> None:
    said = (*(f"{name}={value}" for name, value in variables.items()), "PATH=/usr/bin:/bin")
    config = ImageConfig(cmd=(sys.executable, "-ISc", PRINTER, *arguments), env=said)
    start = f"reset=; exec {command([*NO_INIT, *COREUTILS], config)}"
    done = subprocess.run([*shell, "-c", start], capture_output=True, check=True)
    found = done.stdout.split(b"\0")[:-1]
    assert found[: len(arguments)] == [each.encode() for each in arguments]
    assert {each.encode() for each in said} <= {*found[len(arguments) :]}


def test_a_program_whose_name_has_an_equals_sign_is_no_variable(tmp_path: Path) -> None:
    (tmp_path / "a=b").write_text('#!/bin/sh\necho "$1"\n')
    (tmp_path / "a=b").chmod(0o755)
    line = command([*NO_INIT, *COREUTILS], ImageConfig(cmd=(f"{tmp_path}/a=b", "here")))
    assert subprocess.run(["sh", "-c", f"reset=; exec {line}"], capture_output=True, check=True).stdout == b"here\n"


@pytest.mark.parametrize(
    ("user", "groups", "start"),
    [
        ("", (), "/usr/bin/env -i"),
        ("root", (), "/usr/bin/env -i"),
        ("1000:100", (), "/usr/bin/setpriv --reuid=1000 --regid=100 --clear-groups -- /usr/bin/env -i"),
        ("app", (), "/usr/bin/setpriv --reuid=1000 --regid=100 --groups=63 -- /usr/bin/env -i"),
        ("1000", (), "/usr/bin/setpriv --reuid=1000 --regid=100 --groups=63 -- /usr/bin/env -i"),
        ("app:audio", (), "/usr/bin/setpriv --reuid=1000 --regid=63 --clear-groups -- /usr/bin/env -i"),
        ("7:8", (5, 8), "/usr/bin/setpriv --reuid=7 --regid=8 --groups=5 -- /usr/bin/env -i"),
        ("7", (), "/usr/bin/setpriv --reuid=7 --regid=0 --clear-groups -- /usr/bin/env -i"),
    ],
)
def test_the_user_is_looked_up_as_engines_do(user: str, groups: tuple[int, ...], start: str) -> None:
    members = [*replaced(NO_INIT, *[member for member in BUSYBOX if member.path.startswith(b"etc/")]), *COREUTILS]
    assert command(members, ImageConfig(cmd=("x",), user=user, groups=groups)).startswith(start)


@pytest.mark.parametrize(
    ("program_name", "start"),
    [
        (b"usr/sbin/chroot", "/usr/sbin/chroot --skip-chdir --userspec=1000:100 --groups= / /usr/bin/env"),
        (b"usr/bin/su-exec", "/usr/bin/su-exec 1000:100 /usr/bin/env"),
        (b"usr/bin/gosu", "/usr/bin/gosu 1000:100 /usr/bin/env"),
    ],
)
def test_any_program_that_can_changes_the_user(program_name: bytes, start: str) -> None:
    members = [*NO_INIT, program(b"usr/bin/env"), program(program_name)]
    assert command(members, ImageConfig(cmd=("x",), user="1000:100")).startswith(start)


def test_busybox_su_is_used_for_users_with_a_name() -> None:
    assert command(BUSYBOX, ImageConfig(cmd=("x",), user="app")).startswith("/bin/su -p -s /bin/sh app -c 'exec /bin/")
    for user in ("1000:5", "5:5"):
        (problem,) = problems(BUSYBOX, ImageConfig(cmd=("x",), user=user))
        assert f"no program can start the command as {user}" in problem
    hard = [member.changed(type=LNK, link=b"bin/busybox") if member.type == b"2" else member for member in BUSYBOX]
    assert command(hard, ImageConfig(cmd=("x",), user="app")).startswith("/bin/su ")


def test_all_missing_programs_are_reported_at_once() -> None:
    config = ImageConfig(cmd=("/app", "\0"), user="nobody", stop_signal="SIGNONE")
    found = problems([directory(b"etc")], config, dhcp=True)
    assert [each.split(":")[0].partition(" is ")[0] for each in found] == [
        "a program cannot receive the string '\\x00'", "/bin/sh", "the program env", "unknown stop signal 'SIGNONE'",
        "ifupdown and a DHCP client are missing", "user 'nobody'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("stop", "number"), [("", 15), ("SIGQUIT", 3), ("INT", 2), ("9", 9), ("SIGRTMIN+3", 37), ("sigusr1", 10)]
)
def test_proxmoxs_shutdown_is_the_stop_signal_of_the_image(stop: str, number: int) -> None:
    script, _ = write_init(survey([*NO_INIT, *COREUTILS]), ImageConfig(cmd=("x",), stop_signal=stop))
    assert f"\ntrap 'hand_on {number}' PWR\n" in script


def test_the_tmpfs_of_the_bundle_and_the_network_are_made_ready() -> None:
    config = ImageConfig(
        cmd=("x",),
        mounts=(Mount("/a b", "tmpfs", "tmpfs", ("nosuid", "rprivate", "size=1m")), Mount("/data", "bind", "/srv")),
    )
    plain = without([*NO_INIT, *COREUTILS], b"usr/sbin/ifup")
    script, _ = write_init(survey(plain), config)
    assert "mkdir -p '/a b' && mount -t tmpfs -o nosuid,size=1m tmpfs '/a b'\n" in script
    assert "/data" not in script
    assert "ifup" not in script
    script, _ = write_init(survey([*plain, program(b"usr/sbin/dhclient")]), config, dhcp=True)
    assert "\nip link set eth0 up 2>/dev/null || ifconfig eth0 up; dhclient -1 eth0\n" in script
    script, _ = write_init(survey([*NO_INIT, *COREUTILS]), config)
    assert "ifup -a\n" in script


def test_the_init_is_written_to_the_real_sbin_and_reported() -> None:
    sentence = "wrote /usr/sbin/init, which starts app: there was no init"
    assert place(RUN, members=[*NO_INIT, *COREUTILS]) == ["usr/sbin/init", sentence]
    members, _, _ = fitted([*NO_INIT, *COREUTILS], FITS, FitOptions(process=RUN))
    assert members[b"usr/sbin/init"].mode == 0o700
    assert is_written(survey(members.values()))
    again, _, fitting = fitted(members.values(), FITS, FitOptions(process=RUN))
    assert again[b"usr/sbin/init"] is members[b"usr/sbin/init"]
    assert fitting.report() == {"written-init": []}


def test_a_dangling_init_link_is_replaced() -> None:
    dangling = [*NO_INIT, *COREUTILS, symlink(b"usr/sbin/init", b"/lib/systemd/elsewhere")]
    assert place(RUN, members=dangling)[0] == "usr/sbin/init"


@pytest.mark.parametrize(
    "init",
    [
        symlink(b"usr/sbin/init", b"/lib/systemd/systemd"),
        symlink(b"usr/sbin/init", b"../lib/systemd/systemd"),
        program(b"usr/sbin/init"),
        regular(b"usr/sbin/init", bytes(100_000), 0o755),
        regular(b"usr/sbin/init", b"not executable", 0o644),
        directory(b"usr/sbin/init"),
        Member(b"usr/sbin/init", LNK, link=b"usr/sbin/sshd"),
    ],
    ids=lambda member: repr(member),
)
def test_whatever_init_is_there_stays(init: Member) -> None:
    assert place(RUN, members=[*NO_INIT, *COREUTILS, init]) == []


@pytest.mark.parametrize("config", [None, ImageConfig(env=("A=b",))])
def test_nothing_is_written_where_nobody_names_a_process(config: ImageConfig | None) -> None:
    assert place(config, members=[*NO_INIT, *COREUTILS]) == []


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="a pid namespace needs root")
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(("sent", "status"), [("", 3), ("TERM", 4), ("PWR", 5), ("INT", 6)])
def test_as_the_first_process_it_hands_signals_on_and_ends_with_the_programs_status(
    shell: list[str], sent: str, status: int, tmp_path: Path
) -> None:
    app = 'for s in TERM:4 USR1:5 INT:6; do trap "exit ${s#*:}" ${s%:*}; done; touch up; '
    app += "while :; do sleep 0.05; done" if sent else "exit 3"
    config = ImageConfig(cmd=("bash", "-c", app), stop_signal="SIGUSR1", working_dir=str(tmp_path))
    script, _ = write_init(survey(without([*NO_INIT, *COREUTILS], b"usr/sbin/ifup")), config)
    (tmp_path / "init").write_text(script)
    ask = f"(until [ -e {tmp_path}/up ]; do sleep 0.05; done; kill -{sent} 1) & " if sent else ""
    inside = f"{ask}exec {' '.join(shell)} {tmp_path}/init"
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "--mount", "--net", "bash", "-c", inside], timeout=240
    )
    assert done.returncode == status
