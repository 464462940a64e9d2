"""Tokens, access control lists and privileges, as pve-access-control decides them."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from .answer import RefusedError, as_json
from .http import unquote

ROLES: dict[str, tuple[str, ...]] = {
    "PVEAuditor": ("Datastore.Audit", "Sys.Audit", "VM.Audit", "Pool.Audit", "SDN.Audit"),
    "PVEDatastoreAdmin": (
        "Datastore.Allocate",
        "Datastore.AllocateSpace",
        "Datastore.AllocateTemplate",
        "Datastore.Audit",
    ),
    "PVEDatastoreUser": ("Datastore.AllocateSpace", "Datastore.Audit"),
    "PVESDNUser": ("SDN.Audit", "SDN.Use"),
    "PVESysAdmin": ("Sys.Audit", "Sys.Console", "Sys.Syslog"),
    "PVEVMAdmin": (
        "VM.Allocate",
        "VM.Audit",
        "VM.Config.CPU",
        "VM.Config.Disk",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.Options",
        "VM.PowerMgmt",
    ),
}
EVERYTHING = (
    *sorted({privilege for privileges in ROLES.values() for privilege in privileges}),
    "Sys.AccessNetwork",
    "Sys.Modify",
)
ROLES["Administrator"] = EVERYTHING

# pve-access-control TOKEN_SUBDIR regular expressions: the id begins with a letter and has two characters or more.
TOKEN_ID = re.compile(r"[^\s:/!@]+@[A-Za-z][A-Za-z0-9.\-_]+![A-Za-z][A-Za-z0-9.\-_]+")


@dataclass(frozen=True)
class Acl:
    """One entry of the list: on a path, a user ("ci@pve") or a token ("ci@pve!upload") has roles or privileges."""

    path: str
    who: str
    grants: tuple[str, ...]
    propagate: bool = True


@dataclass
class Token:
    """An API token. expire is in seconds since 1970, 0 for never; with privsep it needs entries of its own."""

    id: str
    secret: str
    privsep: bool = True
    enabled: bool = True
    expire: int = 0

    def __post_init__(self) -> None:
        """Refuse an id that Proxmox would not make; raises ValueError."""
        if not TOKEN_ID.fullmatch(self.id):
            raise ValueError(
                f"invalid token id {self.id!r}: expected USER@REALM!NAME, 2 characters or more, a letter first"
            )

    @property
    def user(self) -> str:
        """The user that it belongs to."""
        return self.id.partition("!")[0]


class Access:
    """Who may do what: tokens by id, and the list."""

    def __init__(self, tokens: Iterable[Token], acl: Iterable[Acl]) -> None:
        self.tokens = {token.id: token for token in tokens}
        self.acl = list(acl)

    def authenticate(self, authorization: str | None) -> Token | str:
        """Give the token that an Authorization header names, or the reason to refuse it."""
        found = re.search(r"(?:^|\s)PVEAPIToken[= ]([^;]*)", authorization or "")
        if not found:
            return "No ticket"
        name, _, secret = unquote(found[1].replace("+", "%2B")).partition("=")
        token = self.tokens.get(name)
        valid = token and token.enabled and token.secret == secret and not 0 < token.expire <= time.time()
        return token if token and valid else "Authentication failed!"

    def granted(self, who: str, path: str) -> dict[str, bool]:
        """List the privileges of one user or token on a path, and whether each propagates.

        An entry on a longer path replaces what shorter ones gave.
        """
        if who == "root@pam":
            return dict.fromkeys(EVERYTHING, True)
        privileges: dict[str, bool] = {}
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):
            prefix = "/" + "/".join(parts[:depth])
            here = [
                entry
                for entry in self.acl
                if entry.who == who and entry.path == prefix and (entry.propagate or depth == len(parts))
            ]
            if here:
                privileges = {
                    privilege: entry.propagate
                    for entry in here
                    for grant in entry.grants
                    for privilege in ROLES.get(grant, (grant,))
                }
        return privileges

    def privileges(self, token: Token, path: str) -> dict[str, bool]:
        """List the privileges of a token on a path."""
        of_user = self.granted(token.user, path)
        if not token.privsep:
            return of_user
        return {name: propagate for name, propagate in self.granted(token.id, path).items() if name in of_user}

    def has(self, token: Token, path: str, *wanted: str) -> bool:
        """Whether the token has all of these privileges on the path."""
        return set(wanted) <= set(self.privileges(token, path))


@dataclass(frozen=True)
class Needs:
    """Privileges that a call wants on a path, which may hold {parameters}; all of them, or any."""

    path: str
    privileges: tuple[str, ...]
    any: bool = False

    def missing(self, access: Access, token: Token, parameters: dict[str, str]) -> str:
        """Give the text of the refusal, or ""."""
        path = self.path.format_map(parameters)
        found = set(access.privileges(token, path))
        allowed = bool(found & set(self.privileges)) if self.any else set(self.privileges) <= found
        if allowed:
            return ""
        names = "|".join(self.privileges) if self.any else ", ".join(self.privileges)
        return f"Permission check failed ({path}, {names})\n"


def require(needs: Needs, access: Access, token: Token, parameters: dict[str, str]) -> None:
    """Raise RefusedError with status 403 where a privilege lacks."""
    if said := needs.missing(access, token, parameters):
        raise RefusedError(as_json(403, None, said))
