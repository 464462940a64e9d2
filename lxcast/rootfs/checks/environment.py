"""Checks for settings of the build network: proxies, name servers and hosts that a container may not reach."""

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from lxcast.rootfs.checks.rows import Check, Finding, Subject
from lxcast.rootfs.globs import Matcher

_APT = ("etc/apt/apt.conf", "etc/apt/apt.conf.d/*")
_SHELL = (
    "etc/environment",
    "etc/environment.d/*",
    "etc/profile",
    "etc/profile.d/*",
    "etc/bash.bashrc",
    "etc/bashrc",
    "etc/zsh/*",
    "etc/sysconfig/proxy",
    "etc/systemd/system.conf",
    "etc/systemd/system.conf.d/*",
    "root/.bashrc",
    "root/.bash_profile",
    "root/.profile",
)
_PACKAGES = ("etc/yum.conf", "etc/dnf/dnf.conf", "etc/yum.repos.d/*", "etc/zypp/zypp.conf", "etc/zypp/repos.d/*")
_TOOLS = (
    "etc/pip.conf",
    "etc/xdg/pip/pip.conf",
    "root/.pip/pip.conf",
    "root/.config/pip/pip.conf",
    "{etc,usr/etc,usr/local/etc}/npmrc",
    "root/.npmrc",
    "etc/wgetrc",
    "root/.wgetrc",
    "etc/curlrc",
    "root/.curlrc",
    "etc/gitconfig",
    "root/.gitconfig",
)
_INDEXES = ("etc/apt/sources.list", "etc/apt/sources.list.d/*", *_PACKAGES, *_TOOLS, "etc/apk/repositories")

_NO_PROXY = ("", "direct", "none", "_none_", "false", "off", "no", "libproxy", "null")

_URL = r"[\"']?([^\"'\s;,]*)"
_LINE = r"^(?![ \t]*[#;])[ \t]*"

_APT_SETTING = re.compile(r"\bProxy(?:-Auto-Detect)?(?:::[\w.-]+)?\s+" + _URL, re.IGNORECASE)
_APT_PLAIN = re.compile(r'("[^"\n]*")|//[^\n]*|#[^\n]*|/\*.*?\*/', re.DOTALL)
_VARIABLE = re.compile(
    r"^[^\n#]*?\b((?:https?|ftp|all|socks|rsync)_proxy)[ \t]*=[ \t]*" + _URL, re.IGNORECASE | re.MULTILINE
)
_PACKAGE_SETTING = re.compile(_LINE + r"proxy[ \t]*=[ \t]*" + _URL, re.IGNORECASE | re.MULTILINE)
_TOOL_SETTING = re.compile(
    _LINE + r"(?:(?:--?)?(?:proxy|x)|(?:https?|ftp)[-_]proxy)(?:[ \t]*[=:][ \t]*|[ \t]+)" + _URL,
    re.IGNORECASE | re.MULTILINE,
)
_CREDENTIALS_IN_URL = re.compile(
    r"^(?![ \t]*[#;])[^\n]*?\w+://(?:[^\s/:@$]*:(?!\$)[^\s/@]+|[^\s/:@$]{20,})@([^\s/\"']+)", re.MULTILINE
)

# Addresses of a resolver in the container itself. Docker's resolver (127.0.0.11) does not count.
_LOCAL_RESOLVERS = ("127.0.0.1", "127.0.0.53", "127.0.0.54", "::1")


def _texts(subject: Subject, patterns: tuple[str, ...]) -> Iterator[tuple[bytes, str]]:
    """Yield (path, text) of the files that match the patterns, in path order."""
    matcher = Matcher(dict.fromkeys(patterns, True))
    for path in sorted(subject.survey.texts):
        if matcher.find(path):
            yield path, subject.survey.text(path) or ""


def _host(url: str) -> str:
    """Return host and port of a URL, without user, password and path, for a message."""
    return url.rpartition("://")[2].rpartition("@")[2].partition("/")[0]


def _proxies(patterns: tuple[str, ...], form: re.Pattern[str]) -> Callable[[Subject], Iterator[Finding]]:
    """Return the function of a row that finds proxies; the last group of `form` is the URL of the proxy."""

    def find(subject: Subject) -> Iterator[Finding]:
        for path, text in _texts(subject, patterns):
            for match in form.finditer(text):
                url = match.groups()[-1]
                # A reference repeats the value of another line.
                if url.lower() not in _NO_PROXY and not url.startswith("$"):
                    line = text.count("\n", 0, match.start(match.lastindex or 0)) + 1
                    yield Finding(f"line {line}: sets the proxy {_host(url)}", path)

    return find


def _apt(subject: Subject) -> Iterator[Finding]:
    for path, text in _texts(subject, _APT):
        bare = _APT_PLAIN.sub(lambda match: match[1] or "\n" * match[0].count("\n"), text)
        for match in _APT_SETTING.finditer(bare):
            if match[1].lower() not in _NO_PROXY:
                line = bare.count("\n", 0, match.start()) + 1
                yield Finding(f"line {line}: sets the proxy {_host(match[1])}", path)


def _index_credentials(subject: Subject) -> Iterator[Finding]:
    for path, text in _texts(subject, _INDEXES):
        for match in _CREDENTIALS_IN_URL.finditer(text):
            line = text.count("\n", 0, match.start(1)) + 1
            yield Finding(f"line {line}: user and password in the URL of {_host(match[1])}", path)


def _resolvers(subject: Subject) -> Iterator[Finding]:
    for number, words in _words(subject, b"etc/resolv.conf"):
        neutral = {"nameserver": _LOCAL_RESOLVERS, "search": (".",), "domain": (".",)}.get(words[0])
        if neutral and not set(words[1:]) <= set(neutral):
            yield Finding(f"line {number}: {' '.join(words)}", b"etc/resolv.conf")


def _hosts(subject: Subject) -> Iterator[Finding]:
    for number, words in _words(subject, b"etc/hosts"):
        try:
            address = ip_address(words[0].partition("%")[0])
        except ValueError:
            continue
        # The usual entries ip6-localnet and ip6-mcastprefix are not addresses of a host.
        if not (address.is_loopback or address.is_multicast or words[0] in ("fe00::0", "fe00::")):
            yield Finding(f"line {number}: {' '.join(words)}", b"etc/hosts")


def _words(subject: Subject, path: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, words) of the lines that are not empty or comments."""
    for number, line in enumerate((subject.survey.text(path) or "").splitlines(), 1):
        words = re.split("[#;]", line, maxsplit=1)[0].split()
        if words:
            yield number, words


_UNREACHABLE = "a container that cannot reach it can neither install nor download anything"

ENVIRONMENT = (
    Check(
        id="apt-proxy",
        group="environment",
        heading="No proxy for apt",
        why=f"A proxy of the build network in /etc/apt/apt.conf or apt.conf.d stays in use; {_UNREACHABLE}.",
        find=_apt,
        hint="set it only for the build: apt-get -o Acquire::http::Proxy=URL, or the variable http_proxy",
        reads=_APT,
    ),
    Check(
        id="proxy-variables",
        group="environment",
        heading="No proxy in the environment",
        why=(
            "http_proxy and similar variables in /etc/environment, /etc/profile.d, shell startup files or systemd's "
            f"DefaultEnvironment affect every program; {_UNREACHABLE}. no_proxy alone is harmless."
        ),
        find=_proxies(_SHELL, _VARIABLE),
        hint="set it only for the build: docker build --build-arg http_proxy=URL, or env of a Packer provisioner",
        reads=_SHELL,
    ),
    Check(
        id="package-proxy",
        group="environment",
        heading="No proxy for dnf, yum or zypper",
        why=f"proxy= in dnf.conf, yum.conf or a repository file stays in use; {_UNREACHABLE}.",
        find=_proxies(_PACKAGES, _PACKAGE_SETTING),
        hint="set it only for the build: dnf --setopt=proxy=URL",
        reads=_PACKAGES,
    ),
    Check(
        id="tool-proxy",
        group="environment",
        heading="No proxy for pip, npm, wget, curl or git",
        why=f"Proxies in pip.conf, npmrc, wgetrc, curlrc or gitconfig are easily forgotten; {_UNREACHABLE}.",
        find=_proxies(_TOOLS, _TOOL_SETTING),
        hint="set it only for the build, with the variable https_proxy",
        reads=_TOOLS,
    ),
    Check(
        id="index-credentials",
        group="environment",
        heading="No credentials in the URLs of package sources",
        why=(
            "URLs of private repositories often contain credentials, as in https://USER:PASSWORD@HOST in sources.list, "
            "a .repo file, pip.conf or npmrc. Everyone who can read the template can read them."
        ),
        find=_index_credentials,
        hint="remove user and password from the URL, revoke them, and pass new ones only to the build",
        reads=_INDEXES,
    ),
    Check(
        id="baked-resolv-conf",
        group="environment",
        heading="No name servers of the build network",
        why=(
            "Proxmox writes /etc/resolv.conf of a managed container at every start. An unmanaged container keeps the "
            "name servers and search domains of the build network. An empty file, or a resolver in the container "
            "itself, is correct."
        ),
        find=_resolvers,
        hint="enable the row resolv-conf, or empty the file in the image",
        reads=("etc/resolv.conf",),
    ),
    Check(
        id="baked-hosts",
        group="environment",
        heading="No hosts of the build network",
        why=(
            "Proxmox adds a section to /etc/hosts and keeps the rest. Entries of the build network map names to "
            "addresses that are wrong or unreachable where the container runs."
        ),
        find=_hosts,
        hint="enable the row hosts, or remove the line in the image",
        reads=("etc/hosts",),
    ),
)
