"""Finds private keys and credential files by name and content while members stream by.

`scan` runs for every regular file below SCAN_ROOTS, so it examines content only if the name does not decide. It never
returns a value: a result is a kind and a line number.
"""

import re
from dataclasses import dataclass

SCAN_ROOTS = (b"root/", b"home/", b"etc/", b"opt/", b"srv/")
"""Directories in which people and provisioners leave secrets. Files of packages below usr/ are public."""

PRIVATE_KEY, ENCRYPTED_KEY, AUTHORIZED_KEYS = "private-key", "encrypted-private-key", "authorized-keys"


@dataclass(frozen=True, slots=True)
class Credential:
    """A kind of file that holds a credential."""

    id: str
    files: tuple[str, ...]
    """The last components of the paths; a final "*" matches every file of a directory."""
    form: re.Pattern[bytes]
    """Matches content with a credential, but not plain settings or references."""
    heading: str
    what: str
    why: str


# References to environment variables and placeholders are not secrets.
_REFERENCE = rb"\$\{[^}\n]*\}|\$[A-Z_][A-Z0-9_]*|<[^>\n]*>|\{\{[^\n]*\}\}|%\(\w+\)s"
_VALUE = rb"[ \t]*[\"']?(?!(?:" + _REFERENCE + rb")[\"']?[ \t\r]*[,}]*[ \t\r]*$)[^\s\"']"
_START = rb"^(?![ \t]*[#;])"  # not in a comment


def _form(*forms: bytes) -> re.Pattern[bytes]:
    return re.compile(b"|".join(forms), re.MULTILINE | re.IGNORECASE)


def _json(*keys: bytes) -> bytes:
    return rb"\"(?:" + b"|".join(keys) + rb")\"\s*:" + _VALUE


KEY_TYPES = (
    rb"(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp\d+|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com"
    rb"|[a-z0-9-]+-cert-v0[01]@openssh\.com)"
)
AUTHORIZED_KEY = _form(_START + rb"[^\n]*?(?:^|[ \t])" + KEY_TYPES + rb"[ \t]+AAAA")
"""A line of authorized_keys with a key, possibly after options (sshd(8), AUTHORIZED_KEYS FILE FORMAT)."""

CREDENTIALS = (
    Credential(
        "aws-credentials",
        (".aws/credentials", ".aws/config", ".boto", "boto.cfg", ".s3cfg"),
        _form(_START + rb"[ \t]*(?:aws_secret_access_key|aws_session_token|secret_key)[ \t]*=" + _VALUE),
        "No AWS keys",
        "a secret access key or session token of AWS",
        "The AWS command line and libraries store keys in ~/.aws. A key gives every container of the template the "
        "permissions of its user.",
    ),
    Credential(
        "gcloud-credentials",
        (
            "gcloud/credentials.db",
            "gcloud/access_tokens.db",
            "gcloud/application_default_credentials.json",
            "adc.json",
        ),
        _form(_json(rb"refresh_token", rb"private_key", rb"client_secret"), rb"\bya29\.[\w-]{20}"),
        "No Google Cloud credentials",
        "a token or key of Google Cloud",
        "gcloud auth login stores tokens in ~/.config/gcloud (credentials.db, access_tokens.db, "
        "application_default_credentials.json).",
    ),
    Credential(
        "azure-credentials",
        tuple(f".azure/{name}" for name in ("accessTokens.json", "msal_token_cache.*", "service_principal_entries.*")),
        _form(_json(rb"accessToken", rb"refreshToken", rb"secret", rb"client_secret"), rb"\A[^\s{\[]"),
        "No Azure credentials",
        "a token of Azure",
        "az login stores tokens in ~/.azure (msal_token_cache, service_principal_entries, formerly accessTokens.json).",
    ),
    Credential(
        "kube-config",
        (
            ".kube/config",
            "k3s.yaml",
            "rke2.yaml",
            "kubernetes/admin.conf",
            "kubernetes/super-admin.conf",
            "kubernetes/kubelet.conf",
            "kubernetes/controller-manager.conf",
            "kubernetes/scheduler.conf",
        ),
        _form(
            _START + rb"[ \t-]*(?:client-key-data|token|password)[ \t]*:[ \t]*" + _VALUE,
            _json(rb"client-key-data", rb"token", rb"password"),
        ),
        "No Kubernetes credentials",
        "a key, token or password of a Kubernetes cluster",
        "A kubeconfig contains the key or token of a client and the address of the cluster.",
    ),
    Credential(
        "docker-auths",
        (".docker/config.json", ".dockercfg", "containers/auth.json"),
        _form(_json(rb"auth", rb"identitytoken", rb"registrytoken", rb"password")),
        "No registry logins",
        "credentials of a container registry",
        "docker login and podman login store user and password, only base64-encoded, under auths in their config"
        " files.",
    ),
    Credential(
        "netrc",
        (".netrc", "_netrc", "apt/auth.conf", "auth.conf.d/*"),
        _form(_START + rb"[^\n#]*?\bpassword[ \t]+" + _VALUE),
        "No passwords in netrc files",
        "a password",
        "curl, git, pip and others read ~/.netrc; apt reads /etc/apt/auth.conf and auth.conf.d in the same format.",
    ),
    Credential(
        "git-credentials",
        (".git-credentials", "git/credentials", ".gitconfig", "gitconfig", "git/config", ".git/config"),
        _form(_START + rb"[^\n]*?://(?:[^\s/:@]*:(?!" + _REFERENCE + rb")[^\s/@]+|[^\s/:@${]{20,})@"),
        "No git credentials",
        "a URL with a password or token",
        "git's credential store keeps URLs with passwords in ~/.git-credentials. A clone from such a URL keeps it in "
        ".git/config.",
    ),
    Credential(
        "npmrc",
        (".npmrc", "npmrc"),
        _form(_START + rb"[^\n=]*\b_(?:authToken|auth|password)[ \t]*=" + _VALUE),
        "No npm tokens",
        "a token or password of a package registry",
        "npm login writes _authToken to ~/.npmrc, and builds often copy an .npmrc next to package.json. A reference "
        "such as ${NPM_TOKEN} is harmless: npm reads the environment.",
    ),
    Credential(
        "pypirc",
        (".pypirc",),
        _form(_START + rb"[ \t]*password[ \t]*[=:]" + _VALUE),
        "No Python index passwords",
        "a password or token of a Python package index",
        "twine and setuptools read ~/.pypirc.",
    ),
    Credential(
        "vault-token",
        (".vault-token",),
        _form(rb"\S"),
        "No Vault token",
        "a token of HashiCorp Vault",
        "vault login stores the token in ~/.vault-token.",
    ),
)

_AUTHORIZED = Credential(
    AUTHORIZED_KEYS,
    ("authorized_keys", "authorized_keys2", "authorized_keys.d/*", "authorized_keys/*"),
    AUTHORIZED_KEY,
    "",
    "",
    "",
)


def _by_name() -> tuple[dict[bytes, list[tuple[bytes, Credential]]], dict[bytes, list[tuple[bytes, Credential]]]]:
    """Index the table: (by the last component, by the directory for files that end in a wildcard)."""
    names: dict[bytes, list[tuple[bytes, Credential]]] = {}
    directories: dict[bytes, list[tuple[bytes, Credential]]] = {}
    for credential in (*CREDENTIALS, _AUTHORIZED):
        for file in credential.files:
            parent, _, name = file.encode().rpartition(b"/")
            stem, star, _ = name.partition(b"*")
            if star:
                directories.setdefault(parent, []).append((stem, credential))
            else:
                names.setdefault(name, []).append((b"/" + file.encode(), credential))
    return names, directories


_NAMES, _DIRECTORIES = _by_name()

# In a real key base64 follows the first line. Documentation and code that only mention the line do not match.
_KEY = re.compile(
    rb"-----BEGIN ((?:[A-Z0-9]+ )*)PRIVATE KEY(?: BLOCK)?-----(?:\\r|\\n|\s)+"
    rb"((?:[A-Za-z-]+: [^\n]*\n)*)\s*([A-Za-z0-9+/=]{32,})"
)
_OPENSSH_PLAIN = b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"  # base64 of "openssh-key-v1\0" and the cipher's name "none"

_IGNORED = re.compile(
    rb"etc/ssh/ssh_host_[^/]*"  # reported by the check ssh-host-keys
    rb"|etc/ssl/private/ssl-cert-snakeoil\.key"  # Debian's self-signed key; Proxmox generates it again
    rb"|.*/(?:site-packages|dist-packages|node_modules|gems|vendor|vendored|third_party)/(?:.*/)?"
    rb"(?:tests?|testing|test[-_]?data|fixtures|examples?|docs?)/.*",  # test data of packages
    re.DOTALL,
)


def scan(path: bytes, head: memoryview) -> tuple[str, ...]:
    """Return "KIND:LINE" for each kind of secret in the first bytes of a file below SCAN_ROOTS; usually ()."""
    found: tuple[str, ...] = ()
    text = bytes(head)
    if b"PRIVATE KEY" in text:
        found = _private_key(path, text)
    parent, _, name = path.rpartition(b"/")
    candidates = _NAMES.get(name)
    if candidates:
        full = b"/" + path
        found += tuple(
            f"{credential.id}:{_line(text, match)}"
            for suffix, credential in candidates
            if full.endswith(suffix) and (match := credential.form.search(text))
        )
    candidates = _DIRECTORIES.get(parent[parent.rfind(b"/") + 1 :])
    if candidates:
        found += tuple(
            f"{credential.id}:{_line(text, match)}"
            for stem, credential in candidates
            if name.startswith(stem) and (match := credential.form.search(text))
        )
    return found


def _private_key(path: bytes, text: bytes) -> tuple[str, ...]:
    match = _KEY.search(text)
    if match is None or _IGNORED.fullmatch(path):
        return ()
    label, headers, body = match.groups()
    encrypted = b"ENCRYPTED" in label + headers or (label == b"OPENSSH " and not body.startswith(_OPENSSH_PLAIN))
    return (f"{ENCRYPTED_KEY if encrypted else PRIVATE_KEY}:{_line(text, match)}",)


def _line(text: bytes, match: re.Match[bytes]) -> int:
    return text.count(b"\n", 0, match.start()) + 1
