"""Checks of SSH access: root can log in with a key, and nobody can log in with a password.

The first login to a container created by Proxmox is by root, with the keys given at creation.
"""

import re
from collections.abc import Iterator

from lxcast.rootfs.checks.rows import Check, Finding, Subject
from lxcast.rootfs.checks.sshd_config import MAIN, READS, Configuration, Setting, evaluate, groups_of, main_file
from lxcast.rootfs.checks.sshd_match import Connection, matches, matches_address, matches_list
from lxcast.rootfs.distribution import READS as DISTRIBUTION
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import printable

_BINARIES = (b"usr/sbin/sshd", b"usr/bin/sshd", b"sbin/sshd", b"usr/local/sbin/sshd")
_NAMES = rb"sshd?"
_UNIT = rb"(?:ssh|sshd)\.(?:service|socket)"
_SYSTEMD = re.compile(
    rb"(?:etc|(?:usr/)?lib|usr/local/lib)/systemd/system/"
    rb"(?:multi-user|default|graphical|basic|sockets|sysinit)\.target\.(?:wants|requires)/(" + _UNIT + rb")"
)
_SYSV = re.compile(rb"etc/(?:rc\.d/)?rc[2-5]\.d/S\d\d" + _NAMES)
_OPENRC = re.compile(rb"etc/runlevels/(?:default|boot)/" + _NAMES)
_UNITS = tuple(
    folder + name + kind
    for folder in (b"etc/systemd/system/", b"usr/lib/systemd/system/", b"lib/systemd/system/")
    for name in (b"ssh", b"sshd")
    for kind in (b".service", b".socket")
)
_STOPPER = b"etc/ssh/sshd_not_to_be_run"


def _binary(survey: Survey) -> bytes | None:
    found = (survey.resolve(path) for path in _BINARIES)
    return next((path for path in found if survey.hard_links.get(path or b"", path) in survey.executables), None)


def _installed(subject: Subject) -> Iterator[Finding]:
    if _binary(subject.survey) is None:
        yield Finding(f"sshd is missing: none of {', '.join(map(printable, _BINARIES))} is an executable file")


def _enabled(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    if _binary(survey) is None:
        return
    if survey.type(_STOPPER) is not None:
        hint = f"remove {printable(_STOPPER)} in the image"
        yield Finding("the existence of this file prevents Debian's sshd from starting", _STOPPER, hint=hint)
    if any(_starts(survey)):
        return
    masked = [path for path in _UNITS if survey.links.get(path) == b"/dev/null"]
    for path in masked:
        yield Finding(
            "masked: systemd never starts it", path, hint=f"systemctl unmask {path.decode()[19:]} in the image"
        )
    if not masked:
        yield Finding(
            "sshd is installed but not enabled: no link in a .wants directory of systemd, in rc2.d to rc5.d or in "
            "runlevels/default"
        )


def _starts(survey: Survey) -> Iterator[bytes]:
    """Yield the links that start sshd with the existing init; without an init, those of any init system."""
    init = survey.resolve(b"sbin/init")
    systemd = init is not None and init.endswith(b"/systemd")
    # systemd uses the links of SysV init only if there is no unit of that name.
    scripts = not systemd or not any(survey.type(path) is not None for path in _UNITS)
    for path in survey.links:
        wanted = _SYSTEMD.fullmatch(path) if systemd or init is None else None
        unmasked = wanted and survey.links.get(b"etc/systemd/system/" + wanted[1]) != b"/dev/null"
        if unmasked or (scripts and (_SYSV.fullmatch(path) or _OPENRC.fullmatch(path))):
            yield path


def _configuration(subject: Subject) -> Configuration | None:
    """Return the effective configuration for root; None without sshd or configuration, which other rows report."""
    survey = subject.survey
    return None if _binary(survey) is None or main_file(survey) is None else evaluate(survey)


def _valid(subject: Subject) -> Iterator[Finding]:
    survey = subject.survey
    if _binary(survey) is None:
        return
    if main_file(survey) is None:
        yield Finding("missing: sshd does not start without it", MAIN[0], hint="reinstall the package openssh-server")
        return
    found = evaluate(survey)
    for problem in found.problems:
        line = f"line {problem.line}: " if problem.line else ""
        yield Finding(line + problem.message, problem.path)
    for path in found.unread:
        yield Finding(
            "sshd includes this file, but lxcast did not read it: it is outside /etc/ssh or larger than 64 KiB",
            path,
            level="warning",
            hint="include only files below /etc/ssh",
        )


def _finding(keyword: str, setting: Setting, wanted: str, means: str) -> Finding:
    """Return the finding for a wrong value, with the line that sets it and the line to write."""
    line = f"{keyword} {wanted}"
    if setting.path is None:
        message = f"{keyword} is {setting.value} by default, expected {wanted}: {means}"
        return Finding(message, MAIN[0], hint=f'add "{line}" to {printable(MAIN[0])} before the first Match')
    message = f"line {setting.line}: {keyword} is {setting.value}, expected {wanted}: {means}"
    return Finding(message, setting.path, hint=f'change line {setting.line} of {printable(setting.path)} to "{line}"')


_ROOT = {
    "yes": "root can log in with a password if passwords are enabled",
    "no": "root cannot log in, and there is no other user",
    "forced-commands-only": "keys need their own command=, which the keys written by Proxmox do not have",
}


def _root(subject: Subject) -> Iterator[Finding]:
    found = _configuration(subject)
    if found:
        setting = found.one("permitrootlogin")
        if setting.value in _ROOT:
            yield _finding("PermitRootLogin", setting, "prohibit-password", _ROOT[setting.value])


def _keys(subject: Subject) -> Iterator[Finding]:
    found = _configuration(subject)
    if not found:
        return
    setting = found.one("pubkeyauthentication")
    if setting.value != "yes":
        yield _finding("PubkeyAuthentication", setting, "yes", "keys are not accepted")
    methods = found.all("authenticationmethods")
    if not {"any", "publickey"} & {method.value.partition(":")[0] for method in methods}:
        listed = Setting(" ".join(method.value for method in methods), methods[0].path, methods[0].line)
        yield _finding("AuthenticationMethods", listed, "publickey", "a key alone is not sufficient")
    files = found.all("authorizedkeysfile")
    home = _home(subject.survey)
    if f"{home}/.ssh/authorized_keys" not in {_expand(file.value, home) for file in files}:
        listed = Setting(" ".join(file.value for file in files), files[0].path, files[0].line)
        yield _finding(
            "AuthorizedKeysFile",
            listed,
            ".ssh/authorized_keys",
            f"Proxmox writes root's keys to {home}/.ssh/authorized_keys, which sshd does not read",
        )


def _home(survey: Survey) -> str:
    accounts = (line.split(":") for line in (survey.text(b"etc/passwd") or "").splitlines())
    return next((entry[5] for entry in accounts if entry[0] == "root" and len(entry) > 6), "/root").rstrip("/")


def _expand(file: str, home: str) -> str:
    """Return the path of an AuthorizedKeysFile for root; sshd_config(5), TOKENS."""
    tokens = {"%%": "%", "%h": home, "%u": "root", "%U": "0"}
    path = re.sub("%.", lambda token: tokens.get(token[0], token[0]), file)
    path = re.sub("/{2,}", "/", path.replace("~", home, 1) if path.startswith("~/") else path)
    return path if path.startswith("/") else f"{home}/{path}"


def _passwords(subject: Subject) -> Iterator[Finding]:
    found = _configuration(subject)
    if found:
        setting = found.one("passwordauthentication")
        if setting.value != "no":
            yield _finding("PasswordAuthentication", setting, "no", "users can log in with a password")


def _keyboard(subject: Subject) -> Iterator[Finding]:
    found = _configuration(subject)
    if found:
        setting = found.one("kbdinteractiveauthentication")
        if setting.value != "no" and found.one("usepam").value == "yes":
            means = "with UsePAM yes, PAM asks for the password"
            yield _finding("KbdInteractiveAuthentication", setting, "no", means)


def _match_blocks(subject: Subject) -> Iterator[Finding]:
    found = _configuration(subject)
    if not found:
        return
    names = {
        "passwordauthentication": "PasswordAuthentication",
        "kbdinteractiveauthentication": "KbdInteractiveAuthentication",
    }
    for keyword, setting in found.inactive:
        if keyword in names and setting.value == "yes" and setting.path is not None:
            yield Finding(
                f"line {setting.line}: {names[keyword]} yes in a Match block",
                setting.path,
                level="warning",
                hint=f"remove line {setting.line} of {printable(setting.path)}",
            )


def _root_access(subject: Subject) -> Iterator[Finding]:
    found = _configuration(subject)
    if not found:
        return
    who = Connection(groups=groups_of(subject.survey, "root"))
    for name, covers in (("DenyUsers", _covers_user), ("DenyGroups", _covers_group)):
        for setting in found.all(name.lower()):
            if covers(setting.value, who):
                yield _list_finding(setting, f"{name} {setting.value} excludes root", f"without {setting.value}")
    for name, covers in (("AllowUsers", _covers_user), ("AllowGroups", _covers_group)):
        allowed = found.all(name.lower())
        if allowed and not any(covers(setting.value, who) for setting in allowed):
            values = " ".join(setting.value for setting in allowed)
            yield _list_finding(allowed[0], f"{name} {values} excludes root", f'as "{name} {values} root"')

    yield from _account(subject, found)


def _account(subject: Subject, found: Configuration) -> Iterator[Finding]:
    """Report a root account that sshd rejects whatever its configuration is (allowed_user in auth.c)."""
    survey = subject.survey
    accounts = (line.split(":") for line in (survey.text(b"etc/passwd") or "").splitlines())
    shells = [entry[6] or "/bin/sh" for entry in accounts if entry[0] == "root" and len(entry) > 6]
    for shell in shells[:1]:
        program = survey.resolve(shell.encode("utf-8", "surrogateescape"))
        if survey.hard_links.get(program or b"", program) not in survey.executables:
            message = f"root's shell {shell} is not an executable file, so sshd rejects root"
            yield Finding(message, b"etc/passwd", hint="set an installed shell in the image: usermod -s /bin/sh root")
    # Proxmox replaces root's password field at creation ('*' without a password), but not in an unmanaged container.
    locked = (survey.text(b"etc/shadow") or "").startswith("root:!") or "\nroot:!" in (survey.text(b"etc/shadow") or "")
    if locked and not subject.managed and found.one("usepam").value == "no":
        yield Finding(
            "root is locked with '!' and UsePAM is no: sshd rejects a locked account even with a key",
            b"etc/shadow",
            hint="run usermod -p '*' root in the image: '*' matches no password, and keys work",
        )


def _list_finding(setting: Setting, message: str, fix: str) -> Finding:
    path = setting.path or MAIN[0]
    return Finding(
        f"line {setting.line}: {message}", path, hint=f"rewrite line {setting.line} of {printable(path)} {fix}"
    )


def _covers_user(pattern: str, who: Connection) -> bool:
    """Return whether USER or USER@HOST matches the connection (match_user in match.c)."""
    user, at, hosts = pattern.partition("@")
    if not matches(who.user, user):
        return False
    if not at:
        return True
    by_address, by_name = matches_address(who.address, hosts), matches_list(who.host, hosts.lower())
    return -1 not in (by_address, by_name) and 1 in (by_address, by_name)


def _covers_group(pattern: str, who: Connection) -> bool:
    return any(matches(group, pattern) for group in who.groups)


_VERDICT = (
    "Evaluated as by `sshd -T -C user=root,host=x,addr=192.0.2.1` of OpenSSH 9.2: Include, Match, first value wins."
)

SSH = (
    Check(
        id="ssh-installed",
        group="ssh",
        heading="An SSH server is installed",
        why="A container without sshd can be reached only through its node (pct enter); provisioners cannot log in.",
        find=_installed,
        hint="install the package openssh-server in the image",
    ),
    Check(
        id="ssh-enabled",
        group="ssh",
        heading="The SSH server starts at boot",
        why=(
            "systemd starts units linked in a .wants or .requires directory of a boot target, SysV init scripts linked "
            "in rc2.d to rc5.d, OpenRC scripts linked in runlevels/default. A service installed while policy-rc.d "
            "prevents starting services is still enabled, unless it was masked or disabled."
        ),
        find=_enabled,
        hint="in the image: systemctl enable ssh (Debian, Ubuntu), systemctl enable sshd, or rc-update add sshd",
    ),
    Check(
        id="ssh-config",
        group="ssh",
        heading="sshd accepts its configuration",
        why=(
            "sshd does not start with an unknown keyword, a missing argument or an invalid value. The check does not "
            "validate names of algorithms. It knows keywords of releases after 9.2."
        ),
        find=_valid,
        hint="correct or remove the line; `sshd -t` in the image reports the same problem",
        reads=READS,
    ),
    Check(
        id="ssh-root-login",
        group="ssh",
        heading="Root logs in with a key only",
        why=(
            "PermitRootLogin prohibit-password allows root to log in with a key only. `no` prevents every login to a "
            "container without other users, `yes` allows passwords, and forced-commands-only accepts only keys with "
            "their "
            f"own command. {_VERDICT}"
        ),
        find=_root,
        reads=READS,
    ),
    Check(
        id="ssh-public-keys",
        group="ssh",
        heading="Public keys are accepted",
        why=(
            "Proxmox writes the keys given at creation to .ssh/authorized_keys in root's home (PVE/LXC/Setup/Base.pm). "
            f"sshd must accept keys from that file without a second factor. {_VERDICT}"
        ),
        find=_keys,
        reads=READS,
    ),
    Check(
        id="ssh-passwords",
        group="ssh",
        heading="Password login is off",
        why=f"Attackers could guess any password that is set later. {_VERDICT}",
        find=_passwords,
        reads=READS,
    ),
    Check(
        id="ssh-keyboard-interactive",
        group="ssh",
        heading="Keyboard-interactive login is off if PAM is used",
        why=(
            "With UsePAM yes, keyboard-interactive is another form of password login, and PasswordAuthentication no "
            "does not disable it (sshd_config(5), UsePAM). Without PAM it accepts nobody. "
            f"{_VERDICT}"
        ),
        find=_keyboard,
        reads=READS,
    ),
    Check(
        id="ssh-match-passwords",
        group="ssh",
        heading="No Match block enables passwords",
        why="Settings in a Match block for other users or addresses do not appear in the settings for root.",
        find=_match_blocks,
        reads=READS,
    ),
    Check(
        id="ssh-root-access",
        group="ssh",
        heading="Root is allowed to log in",
        why=(
            "sshd evaluates DenyUsers, AllowUsers, DenyGroups and AllowGroups in this order before it checks a key. It "
            "rejects an account without a shell and, without PAM, a locked account (auth.c, allowed_user). "
            f"{_VERDICT}"
        ),
        find=_root_access,
        reads=(*READS, *DISTRIBUTION, "etc/shadow"),
    ),
)
