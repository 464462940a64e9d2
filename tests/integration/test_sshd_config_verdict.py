"""The verdict on 200 generated configurations, compared with what the real sshd makes of them."""

import os
import random
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lxcast.rootfs.checks import Subject, run_checks
from lxcast.rootfs.checks.sshd import SSH
from lxcast.rootfs.checks.sshd_config import READS, Configuration, evaluate
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import regular
from tests.integration.tools import missing, on_path

SEED = 20260912
CONFIGURATIONS = 200
CONNECTION = "user=root,host=x,addr=192.0.2.1"

ONE_VALUE = (
    "permitrootlogin",
    "pubkeyauthentication",
    "passwordauthentication",
    "kbdinteractiveauthentication",
    "usepam",
)
LISTS = ("authenticationmethods", "authorizedkeysfile", "allowusers", "denyusers", "allowgroups", "denygroups")

# keyword: (values that let root in by key alone, values that do not)
VALUES = {
    "PermitRootLogin": (("prohibit-password", "without-password"), ("yes", "no", "forced-commands-only")),
    "PubkeyAuthentication": (("yes",), ("no",)),
    "PasswordAuthentication": (("no",), ("yes",)),
    "KbdInteractiveAuthentication": (("no",), ("yes",)),
    "ChallengeResponseAuthentication": (("no",), ("yes",)),
    "UsePAM": (("yes", "no"), ("yes",)),
}
EXTRAS = (
    "X11Forwarding no",
    "AllowUsers root admin",
    "AllowUsers admin@192.0.2.0/24,!192.0.2.9 root",
    "AllowGroups root,wheel root",
    "DenyUsers mallory",
    "AuthenticationMethods any",
    "AuthenticationMethods publickey,password publickey",
    "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/keys/%u",
    "AcceptEnv LANG LC_*",
    "ForceCommand echo \"it's # no comment",
    "Banner none # none",
    "LogLevel VERBOSE",
)
SPOILING = (
    "DenyUsers root",
    "AllowUsers admin",
    "DenyGroups roo?",
    "AuthenticationMethods publickey,password",
    "AuthorizedKeysFile /etc/ssh/keys/%u",
)
REFUSED = (
    "PermitRootLogn no",
    "PermitRootLogin",
    "PermitRootLogin maybe",
    "PasswordAuthentication no yes",
    "PasswordAuthentication no#comment",
    "PubkeyAuthentication 'yes",
    "UsePAM == yes",
    "Match",
    "Match canonical all",
    "Match all user root",
    "Match user",
    "Match address 192.0.2.1/24",
    'Include ""',
    "Include loop.conf",
    "AllowUsers root@10.0.0.1/8",
    "DenyUsers root@",
    "AuthenticationMethods publickey,token",
    "MaxAuthTries many",
    'Subsystem sftp internal-sftp\nsubsystem "sftp" internal-sftp',
)
CRITERIA = (
    "user root",
    "User=root",
    "user admin",
    "USER r??t,admin",
    'user "root"',
    "group root",
    "Group wheel,ro*",
    "group wheel",
    "host x",
    "Host X,*.example.org",
    "host *.example.org",
    "address 192.0.2.0/24",
    "address 192.0.2.*",
    "Address 2001:db8::/32,198.51.100.0/24",
    "address 192.0.2.1 user root",
    "address 192.0.2.1 user admin",
    "localaddress 192.0.2.7",
    "rdomain blue",
    "all",
    "ALL # everybody",
)
NEGATED = (
    "user !root,*",
    "user !admin,*",
    "user *,!root",
    "group !wheel,*",
    "group !root,*",
    "host !x,*",
    "host !y,*",
    "address !192.0.2.1,192.0.2.0/24",
    "address !192.0.2.9,192.0.2.0/24",
    "address !192.0.2.0/28,*",
    "user !root",
)


FEATURES = (
    "include before",
    "include after",
    "include inside Match",
    "first value wins",
    "case",
    "quotes",
    "=",
    "negated Match",
    "keyboard-interactive with PAM",
)
"""Each is in at least 20 of the configurations that sshd accepts."""


@dataclass
class Made:
    """One generated configuration, by path below /etc/ssh, and what is in it."""

    files: dict[str, list[str]] = field(default_factory=dict)
    features: set[str] = field(default_factory=set)


class Generator:
    """Writes configurations; good ones and bad ones in about equal numbers."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def make(self) -> Made:
        made = Made()
        bad = 0.0 if self.chance(0.5) else 0.25
        main = made.files["sshd_config"] = []
        if self.chance(0.3):
            made.features.add("include before")
            main.append(self.include(made, self.body(made, bad, self.rng.randint(1, 3))))
        main += self.globals(made, bad)
        if self.chance(0.3):
            made.features.add("include after")
            main.append(self.include(made, [*self.body(made, 0.6, 2), *self.nested(made, bad)]))
        for _ in range(self.rng.choice((0, 0, 1, 1, 2, 3))):
            main += self.block(made, bad)
        if self.chance(0.07):
            target = self.rng.choice(sorted(made.files))
            made.files["loop.conf"] = ["Include loop.conf"]
            lines = made.files[target]
            lines.insert(self.rng.randint(0, len(lines)), self.rng.choice(REFUSED))
        return made

    def globals(self, made: Made, bad: float) -> list[str]:
        """Write most switches, some of them twice with another value."""
        keywords = [name for name in VALUES if self.chance(0.3 if name.startswith("Challenge") else 0.93)]
        self.rng.shuffle(keywords)
        shares = {"KbdInteractiveAuthentication": max(bad, 0.2)}
        lines = [self.setting(made, name, self.value(name, shares.get(name, bad))) for name in keywords]
        if self.chance(0.4):
            made.features.add("first value wins")
            keyword = self.rng.choice(sorted(set(VALUES) - {"UsePAM"}))
            one, other = (self.rng.choice(values) for values in VALUES[keyword])
            first, second = (one, other) if self.chance(0.8) else (other, one)
            at = self.rng.randint(0, len(lines))
            lines[at:at] = [self.setting(made, keyword, first), self.setting(made, keyword, second)]
        return lines + self.rng.sample(EXTRAS, self.rng.randint(0, 2)) + ["", "# the end"]

    def body(self, made: Made, bad: float, count: int) -> list[str]:
        """Write a few settings, as they may also stand in a Match block."""
        keywords = self.rng.sample(sorted(set(VALUES) - {"UsePAM"}), count)
        lines = [self.setting(made, keyword, self.value(keyword, bad)) for keyword in keywords]
        return lines + (self.rng.sample(SPOILING, 1) if self.chance(bad / 3) else [])

    def value(self, keyword: str, bad: float) -> str:
        return self.rng.choice(VALUES[keyword][self.chance(bad)])

    def block(self, made: Made, bad: float) -> list[str]:
        """Write a Match block, perhaps with an Include in its middle."""
        lines = [self.match(made), *self.body(made, max(bad, 0.15), self.rng.randint(0, 2))]
        if self.chance(0.45):
            made.features.add("include inside Match")
            inside = [*self.body(made, 0.3, self.rng.randint(1, 2)), *self.nested(made, bad)]
            lines += [self.include(made, inside), *self.body(made, max(bad, 0.15), self.rng.randint(0, 2))]
        return lines

    def nested(self, made: Made, bad: float) -> list[str]:
        """Write a Match block for the end of an included file: it must not go on in the file that includes."""
        return [self.match(made), *self.body(made, max(bad, 0.3), 1)] if self.chance(0.35) else []

    def match(self, made: Made) -> str:
        if self.chance(0.35):
            made.features.add("negated Match")
            return f"Match {self.rng.choice(NEGATED)}"
        return self.rng.choice(("Match ", "match ", "Match\t")) + self.rng.choice(CRITERIA)

    def include(self, made: Made, lines: list[str]) -> str:
        """Put lines into files of their own and return the Include that reads them."""
        number = len(made.files)
        folder = self.rng.choice(("sshd_config.d", "extra"))
        cut = self.rng.randint(0, len(lines))
        made.files[f"{folder}/{number}-b.conf"] = lines[cut:]
        made.files[f"{folder}/{number}-a.conf"] = lines[:cut]
        made.files[f"{folder}/.{number}-hidden.conf"] = ["PermitRootLogin yes"]
        start = self.rng.choice(("/etc/ssh/", ""))
        pattern = self.rng.choice(
            (
                f"{start}{folder}/{number}-*.conf",
                f"{start}{folder}/{number}-[ab].conf {start}missing/*.conf",
                f"{start}{folder}/{number}-a.conf '{start}{folder}/{number}-b.conf'",
                f"{start}{folder}/{number}-?.conf # both",
                f"{start}*/{number}-*.conf",
            )
        )
        return self.rng.choice(("Include ", "include\t", "INCLUDE = ")) + pattern

    def setting(self, made: Made, keyword: str, value: str) -> str:
        """Write a keyword in one of the ways that sshd reads."""
        if self.chance(0.15):
            made.features.add("case")
            keyword, value = self.rng.choice((str.upper, str.lower, str.swapcase))(keyword), value.upper()
        end = self.rng.choice(("", "", "", " # trailing", "\t", " #x", "\r"))
        if self.chance(0.12):
            made.features.add("quotes")
            quoted = self.rng.choice((f'"{value}"', f"'{value}'", f'{value[0]}"{value[1:]}"'))
            return f"{keyword} {quoted}{end}"
        if self.chance(0.12):
            made.features.add("=")
            return keyword + self.rng.choice(("=", " = ", "= ", " =", "\t=\t")) + value + end
        return self.rng.choice(("", "", "  ", "\t")) + keyword + self.rng.choice((" ", "  ", "\t")) + value + end


def surveyed(made: Made) -> Survey:
    survey = Survey(reads=READS)
    survey.see(regular(b"usr/sbin/sshd", b"\x7fELF", 0o755))
    survey.see(regular(b"bin/sh", b"\x7fELF", 0o755))
    survey.see(regular(b"etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"))
    survey.see(regular(b"etc/group", b"root:x:0:\nwheel:x:10:admin\n"))
    for path, lines in made.files.items():
        survey.see(regular(b"etc/ssh/" + path.encode(), "\n".join(lines).encode()))
    return survey


def values_of(found: Configuration) -> dict[str, str]:
    values = {name: found.one(name).value for name in ONE_VALUE}
    return values | {name: " ".join(setting.value for setting in found.all(name)) for name in LISTS}


class Sshd:
    """The real sshd, in a mount namespace whose /etc/ssh is ours, so that relative Includes are tried too."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)

    def dump(self, made: Made, number: int) -> dict[str, str] | str:
        """Return what sshd -T prints, or what it says when it refuses."""
        etc = self.folder / str(number)
        for path, lines in made.files.items():
            (etc / path).parent.mkdir(parents=True, exist_ok=True)
            (etc / path).write_bytes("\n".join(lines).encode())
        shutil.copy(self.key, etc / "key")
        script = (
            'mount -t tmpfs tmpfs /run && mkdir /run/sshd && mount --bind "$1" /etc/ssh || exit 99; '
            'exec "$2" -T -C "$3" -h /etc/ssh/key -f /etc/ssh/sshd_config'
        )
        command = ["unshare", "-m", "sh", "-c", script, "sh", str(etc), str(self.program), CONNECTION]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode != 99, done.stderr
        if done.returncode:
            return done.stderr.decode()
        values: dict[str, str] = {}
        for name, _, value in (line.partition(" ") for line in done.stdout.decode().split("\n")):
            values[name] = f"{values[name]} {value}" if name in values else value
        return values


def lets_only_keys_in(real: dict[str, str]) -> bool:
    """Judge what sshd -T printed, for the few lists that the generator writes."""
    users = real.get("allowusers", "root").split()
    groups = real.get("allowgroups", "root").split()
    methods = real["authenticationmethods"].split()
    return (
        real["permitrootlogin"] == "without-password"
        and real["pubkeyauthentication"] == "yes"
        and real["passwordauthentication"] == "no"
        and not (real["kbdinteractiveauthentication"] == "yes" and real["usepam"] == "yes")
        and ("any" in methods or "publickey" in methods)
        and ".ssh/authorized_keys" in real["authorizedkeysfile"].split()
        and "root" in users
        and "root" in groups
        and "root" not in real.get("denyusers", "").split()
        and "roo?" not in real.get("denygroups", "").split()
    )


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Sshd:
    path = on_path("sshd") or Path("/usr/sbin/sshd")
    if not path.exists():
        missing("no sshd (package openssh-server)")
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        missing("no mount namespace: only root can give sshd an /etc/ssh of its own")
    said = subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stderr
    if not said.startswith("OpenSSH_9.2"):
        pytest.skip(f"the rules that are compared are those of OpenSSH 9.2, and this is {said.strip()}")
    return Sshd(path, tmp_path_factory.mktemp("sshd"))


def test_the_verdict_on_generated_configurations_is_that_of_sshd(sshd: Sshd) -> None:
    generator = Generator(SEED)
    seen: Counter[str] = Counter()
    for number in range(CONFIGURATIONS):
        made = generator.make()
        told = "\n".join(f"--- {path}\n" + "\n".join(lines) for path, lines in made.files.items())
        real = sshd.dump(made, number)
        survey = surveyed(made)
        found = evaluate(survey)
        errors = [finding for finding in run_checks(Subject(survey), "golden", checks=SSH) if finding.fails]
        errors = [finding for finding in errors if finding.check != "ssh-enabled"]
        if isinstance(real, str):
            assert found.problems, f"{real}\n{told}"
            assert errors, told
            seen["refused by sshd"] += 1
            seen["not ok"] += 1
            continue
        seen.update(made.features)
        assert not found.problems, f"{found.problems}\n{told}"
        wanted = {name: real.get(name, "") for name in (*ONE_VALUE, *LISTS)}
        wanted["permitrootlogin"] = wanted["permitrootlogin"].replace("without", "prohibit")
        assert values_of(found) == wanted, told
        ok = lets_only_keys_in(real)
        assert (not errors) == ok, f"{errors}\n{told}"
        seen["ok" if ok else "not ok"] += 1
        if real["kbdinteractiveauthentication"] == "yes" and real["usepam"] == "yes":
            seen["keyboard-interactive with PAM"] += 1
    assert {name: seen[name] for name in FEATURES if seen[name] < 20} == {}
    assert seen["ok"] >= 60, seen
    assert seen["not ok"] >= 60, seen
    assert seen["refused by sshd"] >= 10, seen


@pytest.mark.parametrize("line", REFUSED)
def test_what_sshd_refuses_is_refused(sshd: Sshd, line: str) -> None:
    made = Made({"sshd_config": ["X11Forwarding no", *line.split("\n")], "loop.conf": ["Include loop.conf"]})
    assert isinstance(sshd.dump(made, 1000 + REFUSED.index(line)), str)
    assert evaluate(surveyed(made)).problems


@pytest.mark.parametrize("criterion", [*CRITERIA, *NEGATED])
def test_every_match_applies_as_it_does_in_sshd(sshd: Sshd, criterion: str) -> None:
    made = Made({"sshd_config": [f"Match {criterion}", "PermitRootLogin no"]})
    real = sshd.dump(made, 2000 + [*CRITERIA, *NEGATED].index(criterion))
    assert not isinstance(real, str), real
    assert evaluate(surveyed(made)).one("permitrootlogin").value == real["permitrootlogin"].replace(
        "without", "prohibit"
    )
