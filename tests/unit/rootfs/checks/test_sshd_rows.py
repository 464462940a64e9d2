from pathlib import PurePosixPath

import pytest

from lxcast.rootfs.checks import Finding, Subject, run_checks
from lxcast.rootfs.checks import reads as patterns
from lxcast.rootfs.checks.sshd import SSH
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import Member, directory, regular, symlink

GOOD = "PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM yes\n"
SSHD = regular(b"usr/sbin/sshd", b"\x7fELF", 0o755)
UNIT = regular(b"usr/lib/systemd/system/ssh.service", b"")
WANTED = symlink(b"etc/systemd/system/multi-user.target.wants/ssh.service", b"/usr/lib/systemd/system/ssh.service")
SYSTEMD = (regular(b"usr/lib/systemd/systemd", b"\x7fELF", 0o755), symlink(b"sbin/init", b"/usr/lib/systemd/systemd"))
ACCOUNT = (regular(b"etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"), regular(b"bin/sh", b"\x7fELF", 0o755))


def findings(*members: Member) -> list[Finding]:
    survey = Survey(reads=patterns(SSH))
    for member in members:
        survey.see(member)
    return run_checks(Subject(survey), "golden", checks=SSH)


def configured(text: str, *members: Member) -> list[Finding]:
    """Judge an enabled sshd with this configuration."""
    main = regular(b"etc/ssh/sshd_config", text.encode())
    return findings(SSHD, UNIT, WANTED, *SYSTEMD, *ACCOUNT, main, *members)


def ids(found: list[Finding]) -> list[str]:
    return [finding.check for finding in found]


def test_a_good_configuration_passes_every_row() -> None:
    assert configured(GOOD) == []


def test_without_sshd_only_that_is_told() -> None:
    found = findings(regular(b"etc/ssh/sshd_config", b"PermitRootLogin yes\n"))
    assert ids(found) == ["ssh-installed"]
    assert "/usr/sbin/sshd" in found[0].message


def test_sshd_that_is_not_executable_is_not_installed() -> None:
    assert ids(findings(regular(b"usr/sbin/sshd", b"\x7fELF", 0o644))) == ["ssh-installed"]


def test_sshd_is_found_through_links() -> None:
    members = [symlink(b"usr/sbin", b"bin"), regular(b"usr/bin/sshd", b"\x7fELF", 0o755)]
    assert "ssh-installed" not in ids(findings(*members))


@pytest.mark.parametrize(
    "members",
    [
        (*SYSTEMD, UNIT, WANTED),
        (*SYSTEMD, UNIT, symlink(b"etc/systemd/system/sockets.target.wants/ssh.socket", b"/x")),
        (*SYSTEMD, symlink(b"usr/lib/systemd/system/multi-user.target.wants/sshd.service", b"../sshd.service")),
        (*SYSTEMD, symlink(b"etc/rc3.d/S01ssh", b"../init.d/ssh")),
        (regular(b"sbin/init", b"\x7fELF", 0o755), symlink(b"etc/rc2.d/S01ssh", b"../init.d/ssh")),
        (symlink(b"sbin/init", b"/bin/busybox"), symlink(b"etc/runlevels/default/sshd", b"/etc/init.d/sshd")),
    ],
)
def test_sshd_is_enabled_under_the_init_that_is_there(members: tuple[Member, ...]) -> None:
    assert "ssh-enabled" not in ids(findings(SSHD, *members))


@pytest.mark.parametrize(
    "members",
    [
        (),
        (*SYSTEMD, UNIT),
        # systemd does not read the links of SysV init for a name that has a unit.
        (*SYSTEMD, UNIT, symlink(b"etc/rc2.d/S01ssh", b"../init.d/ssh")),
        (*SYSTEMD, UNIT, symlink(b"etc/systemd/system/multi-user.target.wants/ssh-agent.service", b"/x")),
        (*SYSTEMD, UNIT, symlink(b"etc/systemd/system/rescue.target.wants/ssh.service", b"/x")),
        (*SYSTEMD, UNIT, WANTED, symlink(b"etc/systemd/system/ssh.service", b"/dev/null")),
        (*SYSTEMD, UNIT, WANTED, regular(b"etc/ssh/sshd_not_to_be_run", b"")),
        (regular(b"sbin/init", b"\x7fELF", 0o755), UNIT, WANTED),
    ],
)
def test_sshd_that_nothing_starts_is_told(members: tuple[Member, ...]) -> None:
    assert ids(findings(SSHD, *members)).count("ssh-enabled") == 1


def test_a_mask_is_named_with_the_command_that_lifts_it() -> None:
    mask = symlink(b"etc/systemd/system/ssh.service", b"/dev/null")
    found = [finding for finding in findings(SSHD, *SYSTEMD, UNIT, mask) if finding.check == "ssh-enabled"]
    assert (found[0].path, found[0].hint) == (mask.path, "systemctl unmask ssh.service in the image")


def test_no_configuration_is_told_as_one_thing() -> None:
    found = findings(SSHD, UNIT, WANTED, *SYSTEMD)
    assert [(finding.check, finding.path) for finding in found] == [("ssh-config", b"etc/ssh/sshd_config")]


def test_the_configuration_below_usr_counts_where_etc_has_none() -> None:
    members = [SSHD, UNIT, WANTED, *SYSTEMD, *ACCOUNT]
    assert findings(*members, regular(b"usr/etc/ssh/sshd_config", GOOD.encode())) == []


def test_a_wrong_default_is_reported_with_the_line_to_add() -> None:
    found = configured("UsePAM yes\n")
    assert ids(found) == ["ssh-passwords", "ssh-keyboard-interactive"]
    assert "PasswordAuthentication is yes by default, expected no" in found[0].message
    assert found[0].hint == 'add "PasswordAuthentication no" to /etc/ssh/sshd_config before the first Match'


def test_a_wrong_value_is_reported_with_its_line_and_the_new_line() -> None:
    include = "Include sshd_config.d/*.conf\n"
    found = configured(include + GOOD, regular(b"etc/ssh/sshd_config.d/50-x.conf", b"# cloud\nPermitRootLogin=YES\n"))
    assert [(finding.check, finding.path) for finding in found] == [
        ("ssh-root-login", b"etc/ssh/sshd_config.d/50-x.conf")
    ]
    assert found[0].message.startswith("line 2: PermitRootLogin is yes, expected prohibit-password")
    assert found[0].hint == ('change line 2 of /etc/ssh/sshd_config.d/50-x.conf to "PermitRootLogin prohibit-password"')


@pytest.mark.parametrize("value", ["yes", "no", "forced-commands-only"])
def test_root_by_key_only_is_neither_yes_nor_no_nor_forced_commands(value: str) -> None:
    assert ids(configured(f"PermitRootLogin {value}\n{GOOD}")) == ["ssh-root-login"]


def test_every_violated_part_is_a_finding_of_its_own() -> None:
    text = "PermitRootLogin yes\nPubkeyAuthentication no\nPasswordAuthentication yes\nUsePAM yes\n"
    assert ids(configured(text)) == [
        "ssh-root-login",
        "ssh-public-keys",
        "ssh-passwords",
        "ssh-keyboard-interactive",
    ]


def test_keyboard_interactive_without_pam_asks_nobody() -> None:
    text = "PasswordAuthentication no\nKbdInteractiveAuthentication yes\nUsePAM {}\n"
    assert configured(text.format("no")) == []
    assert ids(configured(text.format("yes"))) == ["ssh-keyboard-interactive"]


@pytest.mark.parametrize(
    "line",
    [
        "AuthenticationMethods publickey,publickey",
        "AuthorizedKeysFile none",
        "AuthorizedKeysFile /etc/ssh/keys/%u",
    ],
)
def test_a_key_has_to_be_enough_and_to_be_found(line: str) -> None:
    assert ids(configured(GOOD + line)) == ["ssh-public-keys"]


@pytest.mark.parametrize(
    "line",
    [
        "AuthenticationMethods publickey,password publickey",
        "AuthorizedKeysFile /etc/ssh/keys/%u %h/.ssh/authorized_keys",
        "AuthorizedKeysFile /%u/.ssh/authorized_keys",
        "AllowUsers adm* root@192.0.2.0/24",
        "AllowGroups root",
        "DenyUsers root@198.51.100.0/24 !root",
    ],
)
def test_what_leaves_root_a_way_in_passes(line: str) -> None:
    assert configured(GOOD + line) == []


@pytest.mark.parametrize(
    "line",
    ["AllowUsers admin", "AllowGroups ssh-users", "DenyUsers r*", "DenyGroups root", "AllowUsers root@!192.0.2.1,*"],
)
def test_a_list_that_shuts_root_out_is_told_with_its_line(line: str) -> None:
    found = configured(GOOD + line)
    assert [(finding.check, finding.path) for finding in found] == [("ssh-root-access", b"etc/ssh/sshd_config")]
    assert found[0].message.startswith("line 5: ")


def test_a_shell_that_is_missing_shuts_root_out() -> None:
    found = configured(GOOD, regular(b"etc/passwd", b"root:x:0:0:root:/root:/bin/zsh\n"))
    assert ids(found) == ["ssh-root-access"]
    assert "/bin/zsh" in found[0].message


def test_a_locked_root_without_pam_is_told_where_proxmox_does_not_replace_it() -> None:
    shadow = regular(b"etc/shadow", b"daemon:*:1::::::\nroot:!:1::::::\n", 0o640)
    assert ids(configured("PasswordAuthentication no\n", shadow)) == ["ssh-root-access"]
    managed = regular(b"etc/os-release", b"ID=alpine\n")
    assert ids(configured("PasswordAuthentication no\n", shadow, managed)) == []


def test_passwords_for_others_in_a_match_block_are_a_warning() -> None:
    found = configured(GOOD + "Match user backup\n  PasswordAuthentication yes\n")
    assert [(finding.check, finding.level) for finding in found] == [("ssh-match-passwords", "warning")]


def test_disabled_authentication_methods_are_rejected() -> None:
    found = configured(GOOD + "AuthenticationMethods publickey,password")
    assert ids(found) == ["ssh-config", "ssh-public-keys"]
    assert found[0].message == "line 5: AuthenticationMethods lists no enabled method"


def test_all_rejected_lines_are_reported_with_file_and_line() -> None:
    text = f"PermitRootLogn no\n{GOOD}Include sshd_config.d/*.conf\nMaxSessions\n"
    found = configured(text, regular(b"etc/ssh/sshd_config.d/a.conf", b"\nUsePAM 'yes\n"))
    assert {(finding.check, finding.path, finding.message) for finding in found} == {
        ("ssh-config", b"etc/ssh/sshd_config", "line 1: unknown keyword 'PermitRootLogn'"),
        ("ssh-config", b"etc/ssh/sshd_config.d/a.conf", "line 2: UsePAM: missing closing quote"),
        ("ssh-config", b"etc/ssh/sshd_config", "line 7: missing argument after 'MaxSessions'"),
    }


@pytest.mark.parametrize(
    ("port", "taken"), [("22", True), ("065535", True), ("ssh", True), ("0", False), ("65536", False), ("22x", False)]
)
def test_a_port_is_a_number_of_tcp_or_the_name_of_a_service(port: str, taken: bool) -> None:
    assert (ids(configured(f"{GOOD}Port {port}\n")) == []) is taken


def test_an_included_file_that_was_not_kept_is_a_warning() -> None:
    found = configured(GOOD + "Include /opt/ssh.conf\n", regular(b"opt/ssh.conf", b"UsePAM yes\n"))
    assert [(finding.check, finding.level, finding.path) for finding in found] == [
        ("ssh-config", "warning", b"opt/ssh.conf")
    ]


def test_an_include_through_a_link_is_followed_and_a_dangling_one_is_refused() -> None:
    members = [directory(b"etc/ssh/sshd_config.d"), regular(b"etc/ssh/real/x", b"PermitRootLogin no\n")]
    link = symlink(b"etc/ssh/sshd_config.d/x.conf", b"../real/x")
    include = "Include sshd_config.d/*.conf\n" + GOOD
    assert ids(configured(include, *members, link)) == ["ssh-root-login"]
    assert ids(configured(include, *members, symlink(link.path, b"../gone"))) == ["ssh-config"]


def test_an_escaped_wildcard_in_an_include_is_the_character() -> None:
    members = [regular(f"etc/ssh/d/{name}".encode(), b"PermitRootLogin no\n") for name in ("a.conf", "*.conf")]
    found = configured(f"Include d/\\*.conf\n{GOOD}", *members)
    assert [(finding.check, finding.path) for finding in found] == [("ssh-root-login", b"etc/ssh/d/*.conf")]


def test_includes_that_multiply_end() -> None:
    levels = [
        regular(f"etc/ssh/d/{level}.conf".encode(), f"Include d/{level + 1}.conf\n".encode() * 50)
        for level in range(14)
    ]
    assert ids(configured(GOOD + "Include d/0.conf\n", *levels)) == ["ssh-config"]


def test_debians_own_configuration_lacks_two_lines() -> None:
    debian = (
        "Include /etc/ssh/sshd_config.d/*.conf\nKbdInteractiveAuthentication no\nUsePAM yes\nX11Forwarding yes\n"
        "PrintMotd no\nAcceptEnv LANG LC_*\nSubsystem\tsftp\t/usr/lib/openssh/sftp-server\n"
    )
    assert ids(configured(debian)) == ["ssh-passwords"]


def test_host_keys_are_not_kept_in_memory() -> None:
    survey = Survey(reads=patterns(SSH))
    survey.see(regular(b"etc/ssh/ssh_host_ed25519_key", b"secret", 0o600))
    survey.see(regular(b"etc/ssh/sshd_config.d/a.conf", b""))
    assert {PurePosixPath(path.decode()).name for path in survey.texts} == {"a.conf"}
