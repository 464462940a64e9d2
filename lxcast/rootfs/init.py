"""Writes an init for a root filesystem that has none. It starts the process of an image or bundle.

The init is a /bin/sh script. A shell that waits for its child also reaps orphans (POSIX does not require this, but
dash, BusyBox and bash do it). If the script used exec, the program itself would have to reap them.
"""

import re
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from posixpath import basename, join
from shlex import quote, split

from lxcast.model import ImageConfig, Mount
from lxcast.rootfs.survey import Survey

MARK = "#!/bin/sh\n# Written by lxcast:"

PLACES = (b"sbin/init", b"usr/sbin/init", b"usr/bin/init", b"bin/init")
"""/sbin/init, and its real paths if /sbin is a link."""

READS = ("etc/passwd", "etc/group", *map(bytes.decode, PLACES))

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH that engines set if the image does not."""

_PROGRAM_DIRECTORIES = (b"usr/bin/", b"bin/", b"usr/sbin/", b"sbin/")

_FORWARDED = ("HUP", "INT", "QUIT", "USR1", "USR2", "CONT", "WINCH", "TERM")

_PROPAGATION = re.compile(r"r?(private|shared|slave|unbindable)|r?bind|tmpcopyup")
"""Options that mount(8) does not accept together with a type."""

_SCRIPT = """\
{mark} the image has no init, and names the process that is started below.
PATH={path}
export PATH

trap 'exit 143' TERM INT PWR
{preparations}

asked= child= reset=
# A shell starts a background process with these two ignored; GNU env takes that back.
{env} --default-signal=INT,QUIT true 2>/dev/null && reset=--default-signal=INT,QUIT

start() {{
	exec {command}
}}

hand_on() {{
	asked=$1
	[ -z "$child" ] || kill -"$1" "$child"
}}

{traps}
start &
child=$!
[ -z "$asked" ] || kill -"$asked" "$child"
while :; do
	asked=
	wait "$child"
	status=$?
	# A wait that a signal ended says nothing of the program.
	[ -n "$asked" ] || exit "$status"
done
"""


def is_written(survey: Survey) -> bool:
    """Whether lxcast wrote the init of the root filesystem."""
    return (survey.text(PLACES[0]) or "").startswith(MARK)


def environment_names(survey: Survey) -> list[str]:
    """Return the names of the variables in a written init, whose start line is `env -i NAME=VALUE ... PROGRAM`."""
    script = survey.text(PLACES[0]) or ""
    line = re.search(r"^\texec .*?\s-i\s+\$reset\s(.*?)^}", script, re.MULTILINE | re.DOTALL)
    try:
        words = split(line[1]) if line else []
    except ValueError:  # `su -c` quotes the whole command
        words = re.findall(r"[A-Za-z_]\w*=", line[1]) if line else []
    assignments = takewhile(re.compile(r"[A-Za-z_]\w*=").match, words)  # the first other word is the program
    return [word.partition("=")[0] for word in assignments]


def has_ifupdown(survey: Survey) -> bool:
    """Whether a written init configures the network from /etc/network/interfaces."""
    return _program(survey, "ifup") is not None


def numbers(survey: Survey, config: ImageConfig) -> tuple[int, int, tuple[int, ...]]:
    """Return uid, gid and supplementary groups of the process. Raises LookupError for an unknown name."""
    user = _User.find(survey, config.user, config.groups)
    return user.uid, user.gid, user.groups


def write_init(survey: Survey, config: ImageConfig, *, dhcp: bool = False) -> tuple[str, list[str]]:
    """Return the script that starts the process of `config`, and all reasons why it cannot be written.

    `survey` must have READS: user names are resolved now. With `dhcp` the script runs the installed DHCP client. If
    ifupdown is installed, the script always runs it.
    """
    problems = [f"a program cannot receive the string {text}" for text in _unusable(config)]
    if survey.executable(b"bin/sh") is None:
        problems.append("/bin/sh is missing, and the init is a shell script")
    env, stop, client = _program(survey, "env"), stop_signal(config.stop_signal), _dhcp_client(survey)
    if env is None:
        problems.append("the program env is missing, which sets the environment")
    if stop is None:
        problems.append(f"unknown stop signal {config.stop_signal!r}")
    if dhcp and client is None:
        problems.append("ifupdown and a DHCP client are missing: dhclient, dhcpcd or udhcpc")
    command = ""
    try:
        user = _User.find(survey, config.user, config.groups)
        words = [env or "", "-i", "$reset", *map(quote, _environment(config, user)), *map(quote, _argv(config))]
        command = _as_user(survey, user, words)
    except LookupError as error:
        problems.append(str(error.args[0]))
    if problems:
        return "", problems
    preparations = [*_mounts(config.mounts), "ip link set lo up 2>/dev/null || ifconfig lo up 2>/dev/null"]
    preparations += [client] if client and (dhcp or client == _IFUP) else []
    directory = quote(join("/", config.working_dir))
    preparations.append(f"cd {directory} 2>/dev/null || {{ mkdir -p {directory} && cd {directory}; }} || exit 1")
    traps = [f"trap 'hand_on {name}' {name}" for name in _FORWARDED] + [f"trap 'hand_on {stop}' PWR"]
    parts = {"preparations": preparations, "traps": traps}
    lines = {name: "\n".join(each) for name, each in parts.items()}
    return _SCRIPT.format(mark=MARK, path=_PATH, env=env, command=command, **lines), []


def _unusable(config: ImageConfig) -> Iterator[str]:
    for text in (*config.process, *config.env, config.working_dir):
        if "\0" in text or text.encode("utf-8", "replace").decode() != text:
            yield ascii(text)[:80]


def _program(survey: Survey, name: str, *, own: bool = False) -> str | None:
    """Return the absolute path of a program. `own` excludes names of a multi-call program such as BusyBox."""
    for path in (parent + name.encode() for parent in _PROGRAM_DIRECTORIES):
        found = survey.resolve(path)
        if found is None or survey.executable(path) is None:
            continue
        first = survey.hard_links.get(found, found)
        if not own or (basename(first) == name.encode() and first not in survey.hard_links.values()):
            return f"/{path.decode()}"
    return None


@dataclass(frozen=True, slots=True)
class _User:
    """The user of the process; `name` is "" if /etc/passwd has no name for the uid."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str

    @classmethod
    def find(cls, survey: Survey, text: str, groups: Iterable[int] = ()) -> "_User":
        """Resolve NAME, UID, NAME:GROUP or UID:GID like container engines. Raises LookupError for an unknown name."""
        wanted, _, group = text.partition(":")
        wanted = wanted or "0"
        row = next((row for row in _rows(survey.text(b"etc/passwd"), 7, 2, 3) if wanted in (row[0], row[2])), None)
        if row is None and not wanted.isdecimal():
            raise LookupError(f"user {wanted!r} is not in /etc/passwd")
        uid, gid = (int(row[2]), int(row[3])) if row else (int(wanted), 0)
        name, home = (row[0], row[5]) if row else ("", "/")
        rows = _rows(survey.text(b"etc/group"), 4, 2)
        # Supplementary groups give root no permissions, so root needs no program to set them.
        others = {int(each[2]) for each in rows if uid and name and name in each[3].split(",")}
        if group:
            found = next((each for each in rows if group in (each[0], each[2])), None)
            if found is None and not group.isdecimal():
                raise LookupError(f"group {group!r} is not in /etc/group")
            gid, others = int(found[2] if found else group), set()
        return cls(uid, gid, tuple(sorted({*others, *groups} - {gid})), name, home)


def _rows(text: str | None, fields: int, *numbers: int) -> list[list[str]]:
    """Return the well-formed lines of passwd(5) or group(5)."""
    rows = [line.split(":") for line in (text or "").splitlines()]
    return [row for row in rows if len(row) == fields and all(row[each].isdecimal() for each in numbers)]


def _as_user(survey: Survey, user: _User, words: list[str]) -> str:
    """Return the shell words that run `words` as the user. Raises LookupError if no installed program can do that."""
    command, groups = " ".join(words), ",".join(map(str, user.groups))
    if (user.uid, user.gid, user.groups) == (0, 0, ()):
        return command
    if setpriv := _program(survey, "setpriv", own=True):
        option = f"--groups={groups}" if groups else "--clear-groups"
        return f"{setpriv} --reuid={user.uid} --regid={user.gid} {option} -- {command}"
    if chroot := _program(survey, "chroot", own=True):
        return f"{chroot} --skip-chdir --userspec={user.uid}:{user.gid} --groups={groups} / {command}"
    small = _program(survey, "su-exec") or _program(survey, "gosu")
    if small and not groups:
        return f"{small} {user.uid}:{user.gid} {command}"
    # BusyBox su executes the program in its own process. It accepts only a name and uses the groups in /etc/group.
    su = None if _program(survey, "su", own=True) else _program(survey, "su")
    if su and user.name and user == _User.find(survey, user.name):
        return f"{su} -p -s /bin/sh {quote(user.name)} -c {quote(f'exec {command}')}"
    raise LookupError(
        f"no program can start the command as {user.uid}:{user.gid}{f' with the groups {groups}' if groups else ''}:"
        " install setpriv (util-linux), chroot (GNU coreutils), su-exec or gosu"
    )


def _environment(config: ImageConfig, user: _User) -> list[str]:
    """Return the environment with the two variables that engines add if they are missing."""
    names = {each.partition("=")[0] for each in config.env}
    defaults = {"PATH": _PATH, "HOME": user.home}
    return [*(f"{name}={value}" for name, value in defaults.items() if name not in names), *config.env]


def _argv(config: ImageConfig) -> tuple[str, ...]:
    # env treats a program name with an equals sign as a variable.
    return (*(("/bin/sh", "-c", 'exec "$0" "$@"') if "=" in config.process[0] else ()), *config.process)


def _mounts(mounts: Iterable[Mount]) -> Iterator[str]:
    """Yield commands that mount kernel filesystems if LXC did not, shared memory, and tmpfs mounts of a bundle."""
    yield "[ -e /proc/self ] || mount -t proc proc /proc"
    yield "[ -e /sys/kernel ] || mount -t sysfs sysfs /sys"
    yield "mkdir -p -m 1777 /dev/shm && mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /dev/shm"
    for mount in mounts:
        if mount.type == "tmpfs":
            options = ",".join(each for each in mount.options if not _PROPAGATION.fullmatch(each)) or "defaults"
            destination = quote(mount.destination)
            yield f"mkdir -p {destination} && mount -t tmpfs -o {quote(options)} tmpfs {destination}"


# With the state of an earlier start ifup would do nothing.
_IFUP = "rm -f /run/network/ifstate* /var/run/ifstate; ifup -a"


def _dhcp_client(survey: Survey) -> str | None:
    """Return the command that configures the network: ifupdown, which other fits configure, or a DHCP client."""
    if _program(survey, "ifup"):
        return _IFUP
    clients = {"dhclient": "dhclient -1 eth0", "dhcpcd": "dhcpcd eth0", "udhcpc": "udhcpc -i eth0 -b"}
    found = next((line for name, line in clients.items() if _program(survey, name)), None)
    return f"ip link set eth0 up 2>/dev/null || ifconfig eth0 up; {found}" if found else None


def stop_signal(text: str) -> int | None:
    """Return the number of an image's stop signal, such as SIGTERM, QUIT, 3 or SIGRTMIN+3; "" is SIGTERM, else None.

    The numbers are the same on all architectures that Proxmox supports.
    """
    name = text.upper().removeprefix("SIG")
    if real := re.fullmatch(r"RTMIN\+(\d{1,2})", name):
        return int(signal.SIGRTMIN) + int(real[1])
    if name.isdecimal():
        return int(name) if 0 < int(name) <= 64 else None
    return int(signal.Signals[f"SIG{name}"]) if f"SIG{name}" in signal.Signals.__members__ else None if name else 15
