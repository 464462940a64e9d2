"""How sshd splits a line into words, and whether a Match line applies (OpenSSH 9.2: misc.c, match.c, addrmatch.c)."""

import ipaddress
import re
import socket
from dataclasses import dataclass

_SPACE = " \t\r\n"
_LATER_CRITERIA = ("version", "sessiontype", "command")  # of Match in newer releases


@dataclass(frozen=True, slots=True)
class Connection:
    """The connection to evaluate the configuration for, as in `sshd -T -C user=root,host=x,addr=192.0.2.1`.

    Local address, local port and routing domain are not set, so a Match with these criteria does not apply.
    """

    user: str = "root"
    host: str = "x"
    address: str = "192.0.2.1"
    groups: tuple[str, ...] = ("root",)


class RejectedError(Exception):
    """sshd rejects the line."""


def delimited(text: str | None) -> tuple[str | None, str | None]:
    """Split off the first word: (word, rest), like strdelim in misc.c; None stands for its NULL."""
    cut = None if text is None else re.search('[ \t\r\n"=]', text)
    if text is None or cut is None:
        return text, None
    at = cut.start()
    if cut[0] == '"':
        end = text.find('"', at + 1)
        return (None, None) if end < 0 else (text[:at] + text[at + 1 : end], text[end + 1 :].lstrip(_SPACE))
    rest = text[at + 1 :].lstrip(_SPACE)
    if cut[0] != "=" and rest.startswith("="):
        rest = rest[1:].lstrip(_SPACE)
    return text[:at], rest


def arguments(text: str) -> list[str] | None:
    """Split the arguments of a keyword like argv_split in misc.c; None if a closing quote is missing."""
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        if text[at] == "#":
            break
        word, quote = "", ""
        while at < len(text):
            char, following = text[at], text[at + 1 : at + 2]
            if char == "\\" and following and (following in "'\"\\" or (following == " " and not quote)):
                word, at = word + following, at + 1
            elif not quote and char in " \t":
                break
            elif not quote and char in "'\"":
                quote = char
            elif char == quote:
                quote = ""
            else:
                word += char
            at += 1
        if quote:
            return None
        words.append(word)
    return words


def matches(text: str, pattern: str) -> bool:
    """Return whether a pattern with `*` and `?` matches the whole string (match_pattern in match.c)."""
    parts = {"*": ".*", "?": "."}
    return re.fullmatch("".join(parts.get(char) or re.escape(char) for char in pattern), text, re.DOTALL) is not None


def matches_list(text: str, patterns: str) -> int:
    """Return 1 if a comma-separated list matches the string, -1 if a `!pattern` in it does, otherwise 0."""
    positive = 0
    for pattern in patterns.split(","):
        if matches(text, pattern.removeprefix("!")):
            if pattern.startswith("!"):
                return -1
            positive = 1
    return positive


def matches_address(address: str | None, patterns: str) -> int:
    """Do the same as `matches_list` for an address and a list of networks or patterns; -2 for an invalid list."""
    found = 0
    for pattern in patterns.split(","):
        bare = pattern.removeprefix("!")
        if not bare:
            return -2
        network = _network(bare)
        if network is None:
            return -2
        if address is None:
            continue
        hit = matches(address, bare) if network is _NO_NETWORK else ipaddress.ip_address(address) in network
        if hit and bare != pattern:
            return -1
        found = 1 if hit else found
    return found


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NO_NETWORK = ipaddress.IPv4Network("0.0.0.0/32")


def _network(text: str) -> _Network | None:
    """Parse ADDRESS or ADDRESS/LENGTH; _NO_NETWORK for a pattern, None for a network with host bits (rejected)."""
    name, slash, length = text.partition("/")
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(name))  # getaddrinfo also accepts 127.1
        except OSError:
            return _NO_NETWORK
    if slash and not (length.isascii() and length.isdigit() and int(length) <= 128):
        return _NO_NETWORK
    try:
        return ipaddress.ip_network(f"{address}/{length or address.max_prefixlen}")
    except ValueError:
        return None


def applies(text: str, who: Connection | None) -> bool:
    """Return whether a Match line applies. Without a connection only the syntax is checked, and only "all" applies.

    Raises RejectedError for a line that sshd rejects (match_cfg_line in servconf.c).
    """
    rest: str | None = text
    applies, seen = True, 0
    while True:
        criterion, rest = delimited(rest)
        if not criterion or criterion.startswith("#"):
            break
        seen += 1
        name = criterion.lower()
        if name == "invalid-user":
            applies = False  # in newer releases; root is a valid user
            continue
        pattern, rest = delimited(rest)
        if name == "all":
            if seen > 1 or (pattern and not pattern.startswith("#")):
                raise RejectedError("Match all cannot be combined with other criteria")
            return True
        if not pattern or pattern.startswith("#"):
            raise RejectedError(f"Match {criterion} without a value")
        applies &= _holds(criterion, pattern, who)
    if not seen:
        raise RejectedError("Match without a criterion")
    return applies and who is not None


def _holds(criterion: str, pattern: str, who: Connection | None) -> bool:
    """Return whether one criterion of a Match line holds. Raises RejectedError for one that sshd rejects."""
    name = criterion.lower()
    if name in ("address", "localaddress"):
        address = None if who is None or name == "localaddress" else who.address
        found = matches_address(address, pattern)
        if found == -2:
            raise RejectedError(f"Match {criterion} {pattern}: expected addresses, networks or patterns")
        return found == 1
    if name == "localport":
        if not (pattern.isascii() and pattern.isdigit() and int(pattern) <= 65535):
            raise RejectedError(f"Match {criterion} {pattern}: invalid port")
        return False
    if name == "rdomain" or name in _LATER_CRITERIA:
        return False
    if name not in ("user", "group", "host"):
        raise RejectedError(f"unknown Match criterion {criterion!r}")
    if who is None:
        return False
    if name == "group":
        results = [matches_list(group, pattern) for group in who.groups]
        return 1 in results and -1 not in results
    if name == "host":
        return matches_list(who.host.lower(), pattern.lower()) == 1
    return matches_list(who.user, pattern) == 1
