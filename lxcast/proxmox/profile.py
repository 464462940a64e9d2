"""The address of a Proxmox API and the token for it, from the environment or a file, never from the command line."""

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lxcast.errors import UsageError

DEFAULT_PORT = 8006
"""pveproxy's port, used if an address has none."""

_BOTH = "PROXMOX_VE_API_TOKEN"

VARIABLES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "api_url": (
        ("PM_API_URL", "TF_VAR_pm_api_url", "PROXMOX_VE_ENDPOINT"),
        "the address of the API: HOST, HOST:PORT or a URL, with or without /api2/json",
    ),
    "api_token_id": (
        ("PM_API_TOKEN_ID", "TF_VAR_pm_api_token_id", _BOTH),
        "USER@REALM!NAME; the last variable also holds =SECRET, and is read only if no other one is set",
    ),
    "api_token_secret": (("PM_API_TOKEN_SECRET", "TF_VAR_pm_api_token_secret", _BOTH), "the token's secret"),
    "api_token_secret_file": (
        ("PM_API_TOKEN_SECRET_FILE",),
        "a file that holds the secret, read if no other variable is set",
    ),
    "node": (("PM_NODE", "TF_VAR_pm_node"), "the node for a plain `proxmox:`"),
    "storage": (("PM_STORAGE", "TF_VAR_pm_storage"), "the storage for a plain `proxmox:`"),
}
"""Key of a profile -> its environment variables, the first that is set counts, and its description."""

_REQUIRED = ("api_url", "api_token_id", "api_token_secret")
_PROFILE_KEYS = (*VARIABLES, "ca_file", "fingerprint")
# pve-access-control: a user id, "!", and a token id that starts with a letter.
_TOKEN_ID = re.compile(r"[^\s:/!@=]+@[A-Za-z][A-Za-z0-9.\-_]+![A-Za-z][A-Za-z0-9.\-_]+")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


class Secret:
    """A string that is never shown: repr, str and every format of it are ***."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the string, for the header or URL that needs it."""
        return self._text

    def hidden_in(self, text: str) -> str:
        """Return the output of another program, which may repeat the secret, with *** in its place."""
        return text.replace(self._text, "***")

    def __repr__(self) -> str:
        return "***"

    def __format__(self, _: str) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The API of one cluster: its address, how its certificate is verified, and the token."""

    url: str
    """https://HOST:PORT[/PREFIX], without /api2/json and without a closing slash."""
    token_id: str
    """USER@REALM!NAME."""
    secret: Secret
    node: str = ""
    storage: str = ""
    ca_file: Path | None = None
    fingerprint: str = ""
    """SHA-256 of the certificate, 64 lower-case digits; "" to verify it by a CA."""

    @property
    def host(self) -> str:
        """Host and port of the address."""
        return urlsplit(self.url).netloc


def load_profile(
    name: str = "",
    api_url: str = "",
    ca_file: str = "",
    fingerprint: str = "",
    environ: Mapping[str, str] | None = None,
) -> Profile:
    """Return the profile of that name from the profile file, or the environment's if the name is empty.

    `api_url` overrides the environment's address. A named profile is used as a whole: nothing is filled in from the
    environment, and an `api_url` other than its own is an error, so that no token reaches another cluster. UsageError
    lists everything that is missing or invalid, without secrets.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    found = _read_file(name, environ, problems) if name else _read_environment(environ, problems)
    if name and not found and problems:
        raise UsageError("\n".join(problems), hint=_hint(name, environ))
    url = _address(name, found.get("api_url", ""), api_url, problems)
    token = found.get("api_token_id", "")
    secret = found.get("api_token_secret", "").strip()
    where = f"the profile {name!r}" if name else "the environment"
    problems += [
        f"{where} has no {key if name else f'PM_{key.upper()}'}"
        for key in _REQUIRED
        if not (api_url if api_url and key == "api_url" else found.get(key, "")).strip()
    ]
    if token and not _TOKEN_ID.fullmatch(token):
        problems.append(_token_problem(token.partition("=")[0]))
    if secret and not re.fullmatch(r"[\x21-\x7e]+", secret):
        problems.append("the token secret contains blanks or other characters that Proxmox never uses")
    fingerprint = _parsed(parse_fingerprint, "fingerprint", fingerprint or found.get("fingerprint", ""), problems)
    ca_path = ca_file or found.get("ca_file", "")
    if ca_path:
        problems += _ca_problems(Path(ca_path).expanduser())
    if problems:
        raise UsageError("\n".join(problems), hint=_hint(name, environ))
    return Profile(
        url=url,
        token_id=token,
        secret=Secret(secret),
        node=found.get("node", ""),
        storage=found.get("storage", ""),
        ca_file=Path(ca_path).expanduser() if ca_path else None,
        fingerprint=fingerprint,
    )


def _token_problem(token: str) -> str:
    user, sign, name = token.partition("!")
    if sign and "@" in user and len(name) == 1:
        return f"token name {name!r} is too short: Proxmox requires at least 2 characters"
    if sign and "@" in user and name and not name[0].isalpha():
        return f"token name {name!r} is invalid: Proxmox requires a letter first"
    return f"invalid token id {token!r}: expected USER@REALM!NAME"


def parse_url(text: str) -> str:
    """Normalise HOST, HOST:PORT or a URL, with or without /api2/json.

    A host alone means https and Proxmox's port; a URL keeps its scheme and port. Raises ValueError with the reason.
    """
    scheme, sign, rest = text.strip().partition("://")
    if not sign:
        scheme, rest = "https", text.strip()
        if rest.count(":") > 1 and "[" not in rest:
            rest = f"[{rest}]"
    if scheme not in ("https", "http"):
        raise ValueError("must start with https://")
    parts = urlsplit(f"{scheme}://{rest}")
    if "@" in parts.netloc:
        raise ValueError("contains a user or password: use the variables for the token")
    host, port = parts.hostname or "", parts.port
    if not _HOST.fullmatch(host) or parts.query or parts.fragment:
        raise ValueError("should be HOST, HOST:PORT or https://HOST:PORT")
    host = f"[{host}]" if ":" in host else host
    if port is None and not sign:
        port = DEFAULT_PORT
    prefix = parts.path.rstrip("/").removesuffix("/api2/json").removesuffix("/api2").rstrip("/")
    return f"{scheme}://{host}{f':{port}' if port else ''}{prefix}"


def parse_fingerprint(text: str) -> str:
    """Parse a SHA-256 fingerprint as Proxmox prints it (pairs with colons). Raises ValueError."""
    digits = text.replace(":", "").strip().lower()
    if digits and not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError("should be a SHA-256 fingerprint: 32 pairs of hexadecimal digits")
    return digits


def profile_file(environ: Mapping[str, str]) -> Path:
    """Return the path of the profile file, $XDG_CONFIG_HOME/lxcast/profiles.toml."""
    config = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"
    return Path(config, "lxcast", "profiles.toml")


def _address(profile: str, own: str, given: str, problems: list[str]) -> str:
    """Return the address of the API: `given`, which must equal the one of a named profile, else `own`."""
    url = _parsed(parse_url, "address of the API", given or own, problems)
    if profile and given and own:
        expected = _parsed(parse_url, f"address of the API in {profile}", own, problems)
        if expected and url and expected != url:
            problems.append(f"the profile {profile!r} is for {expected}, but --api-url is {url}")
    return url


def _parsed(parse: Callable[[str], str], name: str, text: str, problems: list[str]) -> str:
    try:
        return parse(text) if text.strip() else ""
    except ValueError as error:
        shown = "" if "@" in text else f" {text!r}"  # the part before an "@" may be a password
        problems.append(f"the {name}{shown} {error}")
        return ""


def _read_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    """Return each key's first variable that is set."""
    found = {
        key: next((environ[name].strip() for name in names if name != _BOTH and environ.get(name, "").strip()), "")
        for key, (names, _) in VARIABLES.items()
    }
    file = found.pop("api_token_secret_file")
    if file and not found["api_token_secret"]:
        found["api_token_secret"] = _read_secret(Path(file), problems)
    if not found["api_token_id"] and not found["api_token_secret"]:
        token, _, secret = environ.get(_BOTH, "").partition("=")
        found |= {"api_token_id": token, "api_token_secret": secret}
    return found


def _read_file(name: str, environ: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    import tomllib

    path = profile_file(environ)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        mode = path.stat().st_mode
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
        return {}
    except ValueError as error:
        # The parser's message may repeat the line, which may hold the secret.
        place = re.search(r"\(at .*\)$", str(error))
        problems.append(f"{path} is not valid TOML {place[0] if place else ''}".rstrip())
        return {}
    profile = content.get(name)
    if not isinstance(profile, dict):
        names = ", ".join(key for key, value in content.items() if isinstance(value, dict))
        problems.append(f"{path} has no profile {name!r}; it has: {names or 'none'}")
        return {}
    problems += [f"{path}: {name}.{key}: unknown key" for key in profile if key not in _PROFILE_KEYS]
    problems += [f"{path}: {name}.{key} must be a string" for key, each in profile.items() if not isinstance(each, str)]
    found = {key: each for key, each in profile.items() if isinstance(each, str)}
    if "api_token_secret" in found and mode & (stat.S_IRWXG | stat.S_IRWXO):
        problems.append(f"{path} holds a secret and is readable by others: chmod 600 {path}")
    if file := found.get("api_token_secret_file"):
        found["api_token_secret"] = _read_secret(path.parent / Path(file).expanduser(), problems)
    return found


def _ca_problems(path: Path) -> list[str]:
    import ssl

    if not path.is_file():
        return [f"CA file {path} not found"]
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return [f"CA file {path} contains no certificate in PEM format"]
    except OSError as error:
        return [f"CA file {path}: {error.strerror}"]
    return []


def _read_secret(path: Path, problems: list[str]) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        problems.append(f"token secret file {path}: {getattr(error, 'strerror', None) or 'not plain ASCII'}")
        return ""


def _hint(name: str, environ: Mapping[str, str]) -> str:
    if name:
        return f"a profile is a table of {profile_file(environ)} with api_url, api_token_id and api_token_secret_file"
    return (
        "set PM_API_URL, PM_API_TOKEN_ID (USER@REALM!NAME) and PM_API_TOKEN_SECRET or PM_API_TOKEN_SECRET_FILE, or "
        "select a profile with --profile"
    )
