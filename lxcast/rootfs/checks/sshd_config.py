"""Evaluates the sshd configuration of a root filesystem without running sshd.

The rules are those of OpenSSH 9.2 (servconf.c, misc.c, match.c, addrmatch.c), which reads the configuration twice. The
first reading uses the settings outside of Match blocks, and for each keyword the first value. The second reading uses
the settings in applicable Match blocks, again the first value of each keyword. They replace those of the first reading.
"""

import fnmatch
import re
from dataclasses import dataclass, field

from lxcast.rootfs.checks.sshd_keywords import AUTH_METHODS, DEFAULTS, KEYWORDS, LISTS, Scope
from lxcast.rootfs.checks.sshd_match import Connection, RejectedError, applies, arguments, delimited, matches_address
from lxcast.rootfs.survey import TEXT_LIMIT, Survey
from lxcast.tar.member import DIR, printable

MAIN = (b"etc/ssh/sshd_config", b"usr/etc/ssh/sshd_config")
"""sshd reads the first existing file; openSUSE's sshd falls back to the second."""

READS = (
    # All files below etc/ssh that an Include may name, except host keys and moduli.
    "{etc,usr/etc}/ssh/sshd*",
    "{etc,usr/etc}/ssh/*.conf",
    "{etc,usr/etc}/ssh/[!ms]*",
    "{etc,usr/etc}/ssh/*/*",
    # sshd_config.d of Fedora and RHEL includes the first file, which is a link to the second.
    "etc/crypto-policies/back-ends/opensshserver.config",
    "usr/share/crypto-policies/*/opensshserver.txt",
    "etc/passwd",
    "etc/group",
)

_SSHDIR = "/etc/ssh"  # base directory of relative Includes
_MAX_DEPTH = 16  # SERVCONF_MAX_DEPTH
# sshd has no such limits, and 16 levels of 100 Includes would keep it busy for years.
_MAX_LINES, _MAX_PATTERNS = 5000, 100


@dataclass(frozen=True, slots=True)
class Setting:
    """An effective value with its file and line; `path` is None for a built-in default."""

    value: str
    path: bytes | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """A line because of which sshd does not start."""

    message: str
    path: bytes
    line: int


@dataclass(slots=True)
class Configuration:
    """The effective settings for one connection."""

    settings: dict[str, list[Setting]] = field(default_factory=dict)
    """Keyword in lower case -> settings; more than one for keywords with a list."""
    problems: dict[Problem, None] = field(default_factory=dict)
    """The reasons why sshd would not start, each once and in order."""
    unread: list[bytes] = field(default_factory=list)
    """Included files whose content the survey did not keep."""
    inactive: list[tuple[str, Setting]] = field(default_factory=list)
    """(keyword, setting) from Match blocks that do not apply to this connection."""

    def one(self, keyword: str) -> Setting:
        """Return the setting of a keyword with one value, or its default."""
        return self.settings.get(keyword, [Setting(DEFAULTS.get(keyword, ""))])[0]

    def all(self, keyword: str) -> list[Setting]:
        """Return all settings of a keyword with a list."""
        return self.settings.get(keyword) or [Setting(value) for value in DEFAULTS.get(keyword, "").split()]


class _EndlessError(RejectedError):
    """sshd rejects the whole configuration."""


def main_file(survey: Survey) -> bytes | None:
    """Return the path of the configuration that sshd would open, or None if there is none."""
    return next((path for path in MAIN if survey.resolve(path) is not None), None)


def evaluate(survey: Survey, who: Connection | None = None) -> Configuration:
    """Return the settings that `sshd -T -C ...` would print for a connection, and all lines that sshd would reject.

    The survey must have been created with READS. Without a configuration file the defaults apply.
    """
    reading = _Reading(survey, who or Connection(groups=groups_of(survey, "root")))
    main = main_file(survey)
    if main is not None:
        reading.read_twice(main)
    return reading.result


def groups_of(survey: Survey, user: str) -> tuple[str, ...]:
    """Return the names of a user's groups from etc/passwd and etc/group."""
    accounts = [line.split(":") for line in (survey.text(b"etc/passwd") or "root:x:0:0").splitlines()]
    primary = {entry[3] for entry in accounts if entry[0] == user and len(entry) > 3}
    groups = [line.split(":") for line in (survey.text(b"etc/group") or "root:x:0:").splitlines()]
    return tuple(
        entry[0] for entry in groups if len(entry) > 3 and (entry[2] in primary or user in entry[3].split(","))
    )


@dataclass(slots=True)
class _File:
    """A file being read: the current line, and how its Match blocks apply."""

    path: bytes
    depth: int = 0
    never: bool = False
    """No Match block applies, because the file is included from a block that does not apply (SSHCFG_NEVERMATCH)."""
    match_only: bool = False
    """Lines before the first Match are ignored (SSHCFG_MATCH_ONLY, in the second reading)."""
    line: int = 0


class _Reading:
    """Reads one configuration twice and collects the result."""

    def __init__(self, survey: Survey, who: Connection) -> None:
        self.result = Configuration()
        self._survey = survey
        self._who = who
        self._second = False
        self._active = True
        self._settings: dict[str, list[Setting]] = {}
        self._included: dict[str, list[bytes]] = {}  # Include pattern -> files, kept for the second reading
        self._subsystems: set[str] = set()
        self._found: dict[str, list[bytes]] = {}
        self._lines = 0

    def read_twice(self, main: bytes) -> None:
        try:
            self._read(_File(main))
            first, self._settings, self._second, self._active = self._settings, {}, True, False
            self._check_methods(first, main)
            self._lines = 0
            self._read(_File(main, match_only=True))
        except _EndlessError as stop:
            first = {}
            self._reject(_File(main), str(stop))
        self.result.settings = first | {name: values for name, values in self._settings.items() if values}

    def _reject(self, file: _File, message: str) -> None:
        self.result.problems.setdefault(Problem(message, file.path, file.line))

    def _check_methods(self, settings: dict[str, list[Setting]], main: bytes) -> None:
        """Reject AuthenticationMethods without an enabled method (main in sshd.c, before the second reading)."""
        wanted = [method for method in settings.get("authenticationmethods", []) if method.value != "any"]
        for method in wanted:
            names = [name.partition(":")[0] for name in method.value.split(",")]
            switches = [AUTH_METHODS[name] for name in names]
            if all(not switch or _value(settings, switch) == "yes" for switch in switches):
                return
        if wanted:
            file = _File(wanted[0].path or main, line=wanted[0].line)
            self._reject(file, "AuthenticationMethods lists no enabled method")

    def _read(self, file: _File) -> None:
        """Read one file. Raises _EndlessError if sshd would give up or never finish."""
        if file.depth > _MAX_DEPTH:
            raise _EndlessError(f"more than {_MAX_DEPTH} levels of Include")
        text = self._survey.text(file.path)
        if (text is None or len(text) >= TEXT_LIMIT) and file.path not in self.result.unread:
            self.result.unread.append(file.path)
        for number, line in enumerate((text or "").split("\n"), 1):
            file.line = number
            try:
                line = line.lstrip(" \t\r")
                self._take(file, line[:1] + line[1:].rstrip(" \t\r\n\f"))
            except _EndlessError:
                raise
            except RejectedError as refused:
                self._reject(file, str(refused))

    def _take(self, file: _File, line: str) -> None:
        """Process one line. Raises RejectedError if sshd would reject it."""
        keyword, rest = delimited(line)
        if keyword == "":
            keyword, rest = delimited(rest)
        if not keyword or keyword.startswith("#"):
            return
        self._lines += 1
        if self._lines > _MAX_LINES:
            raise _EndlessError(f"more than {_MAX_LINES} lines with all Includes")
        if not rest:
            raise RejectedError(f"missing argument after {keyword!r}")
        row = KEYWORDS.get(keyword.lower())
        if row is None:
            raise RejectedError(f"unknown keyword {keyword!r}")
        words = arguments(rest)
        if words is None:
            raise RejectedError(f"{keyword}: missing closing quote")
        if not self._active and row.scope is Scope.GLOBAL:
            if not self._second:
                raise RejectedError(f"{keyword} is not allowed in a Match block")
            return
        if row.name == "include":
            self._include(file, words)
        elif row.name == "match":
            self._match(file, rest)
        else:
            problem = row.shape.problem(keyword, words, rest)
            if problem:
                raise RejectedError(problem)
            self._set(file, row.name, words)

    def _set(self, file: _File, name: str, values: list[str]) -> None:
        """Store the values of a keyword if they are effective."""
        have = self._settings.get(name, [])
        if name in ("allowusers", "denyusers"):
            bad = [value for value in values if "@" in value and matches_address(None, value.partition("@")[2]) == -2]
            if bad:
                raise RejectedError(f"invalid user pattern {bad[0]!r}")
        if name == "authenticationmethods" and "any" in values and (have or len(values) > 1):
            raise RejectedError('AuthenticationMethods "any" cannot be combined with other methods')
        if name == "subsystem" and self._active and not self._second:
            if values[0] in self._subsystems:
                raise RejectedError(f"Subsystem {values[0]!r} is already defined")
            self._subsystems.add(values[0])
        settings = [Setting(_canonical(name, value), file.path, file.line) for value in values]
        if self._active and (not have or name in LISTS):
            self._settings[name] = have + settings
        elif self._second and not self._active and not file.match_only:
            self.result.inactive += [(name, setting) for setting in settings]

    def _include(self, file: _File, words: list[str]) -> None:
        """Read the files of an Include. The Match state of this file continues after them."""
        if not words or "" in words:
            raise RejectedError("missing file name after Include")
        for word in words:
            pattern = word if word.startswith(("/", "~")) else f"{_SSHDIR}/{word}"
            active = self._active
            done = self._included.setdefault(pattern, [])
            # A recursive Include sees only the files that have already been read.
            cached = list(done)
            if pattern not in self._found:
                if len(self._found) == _MAX_PATTERNS:
                    raise _EndlessError(f"more than {_MAX_PATTERNS} different Includes")
                self._found[pattern] = _glob(self._survey, pattern)
            found = cached or self._found[pattern]
            for path in found:
                if self._survey.resolve(path) is None:
                    raise RejectedError(f"sshd cannot open the Include {printable(path)}: it is a dangling link")
                if self._survey.type(self._survey.resolve(path) or b"") != DIR:
                    never = not file.match_only and not active
                    self._read(_File(path, file.depth + 1, never=never, match_only=file.match_only))
                self._active = active
                if not cached:
                    done.append(path)

    def _match(self, file: _File, text: str) -> None:
        """Start a Match block."""
        who = self._who if self._second and not file.never else None
        self._active = applies(text, who) and not file.never
        file.match_only = False


def _canonical(name: str, value: str) -> str:
    """Return a value in the form used for comparison: switches in lower case and with their current name."""
    if name not in DEFAULTS or name.startswith("auth"):
        return value
    return value.lower().replace("without-password", "prohibit-password")


def _value(settings: dict[str, list[Setting]], keyword: str) -> str:
    return settings[keyword][0].value if settings.get(keyword) else DEFAULTS[keyword]


def _glob(survey: Survey, pattern: str) -> list[bytes]:
    """Return the paths that match the pattern of an Include, in byte order, including dangling links.

    A directory matches even if the archive has no member for it.
    """
    found = [b""]
    escaped = re.sub(rb"\\([^/])", rb"[\1]", pattern.encode("utf-8", "surrogateescape"))  # \x is x, as [x] is
    for part in (part for part in escaped.split(b"/") if part not in (b"", b".")):
        if not set(part) & set(b"*?["):
            found = [b"/".join(filter(None, (parent, part))) for parent in found]
            continue
        found = [
            b"/".join(filter(None, (parent, name)))
            for parent in found
            for name in _names(survey, survey.resolve(parent) or parent)
            if fnmatch.fnmatchcase(name, part) and (part.startswith(b".") or not name.startswith(b"."))
        ]
    return sorted(path for path in found if _exists(survey, path))


def _exists(survey: Survey, path: bytes) -> bool:
    parent, _, name = path.rpartition(b"/")
    return survey.type(b"/".join(filter(None, (survey.resolve(parent) or parent, name)))) is not None


def _names(survey: Survey, directory: bytes) -> set[bytes]:
    """Return the names in a directory."""
    prefix = directory + b"/" if directory else b""
    start = len(prefix)
    return {path[start:].partition(b"/")[0] for path in survey.paths() if path.startswith(prefix)} - {b""}
