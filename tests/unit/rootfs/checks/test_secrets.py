import base64

import pytest

from lxcast.rootfs.checks import CHECKS, SCAN_ROOTS, Finding, Subject, reads, run_checks, scan
from lxcast.rootfs.checks.secrets import SECRETS
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import Member, directory, regular, symlink

SECRET = "zQ9vWm4Kp7Lr2Xt8Yb5N"
"""Stands in every secret below, and in no finding."""

BODY = base64.b64encode(b"0123456789" * 9 + SECRET.encode()).decode()
OPENSSH_PLAIN = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ" + BODY
OPENSSH_ENCRYPTED = base64.b64encode(b"openssh-key-v1\0\0\0\0\x0aaes256-ctr\0\0\0\x06bcrypt").decode() + BODY
HASH = f"$y$j9T$saltsalt${SECRET}"
PUBLIC = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA{SECRET} me@laptop"


def pem(label: str, body: str = BODY) -> str:
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


def found(*members: Member) -> list[Finding]:
    survey = Survey(reads=reads(SECRETS), scan=scan, scan_roots=SCAN_ROOTS)
    for member in members:
        survey.see(member)
    findings = run_checks(Subject(survey), "golden", checks=SECRETS)
    for finding in findings:
        assert SECRET not in str(finding.as_dict())
        assert BODY[:20] not in str(finding.as_dict())
        assert finding.hint
        assert finding.path
    return findings


def file(path: str, text: str) -> Member:
    return regular(path.encode(), text.encode())


def told(*members: Member) -> list[tuple[str, str]]:
    return [(finding.check, finding.path.decode()) for finding in found(*members) if finding.path]


SHADOW = {
    "root:*:19000:0:99999:7:::\ndaemon:!:1::::::\nsync:!!:1::::::\nx:!*:1::::::\ny:x:1::::::\nz:*LK*:1::::::": [],
    f"root:{HASH}:19000:0:99999:7:::": ["root-password"],
    f"# comment\ndaemon:*:1::::::\nroot:{HASH}:1::::::": ["root-password"],
    "root::19000:0:99999:7:::": ["root-password"],
    f"root:*:1::::::\nadmin:{HASH}:1::::::\nold:ab8dKzPqO1xYw:1::::::\nguest::1::::::": ["user-passwords"] * 3,
}


@pytest.mark.parametrize("text", SHADOW)
def test_a_password_that_can_be_used_is_found_and_a_locked_account_is_not(text: str) -> None:
    assert [id for id, _ in told(file("etc/shadow", text))] == SHADOW[text]


def test_an_empty_password_is_an_error() -> None:
    (finding,) = found(file("etc/shadow", "daemon:*:1::::::\nroot::1::::::"))
    assert finding.message == "line 2: root has an empty password, so anyone can log in"
    assert finding.hint == "lock it in the image: usermod -p '*' root"
    assert finding.level == "error"


def test_a_locked_account_with_a_hash_behind_the_lock_is_a_warning() -> None:
    assert [finding.level for finding in found(file("etc/shadow", f"root:!{HASH}:1::::::"))] == ["warning"]


def test_passwords_in_passwd_and_in_left_copies_are_found() -> None:
    passwd = file("etc/passwd", f"root:{HASH}:0:0::/root:/bin/sh\nsys::3:3::/:/usr/sbin/nologin\ndaemon:x:1:1::/:\n")
    assert told(passwd) == [("root-password", "etc/passwd"), ("user-passwords", "etc/passwd")]
    assert told(file("etc/shadow-", f"root:{HASH}:1::::::\nsys::1::::::")) == [("root-password", "etc/shadow-")]


@pytest.mark.parametrize(
    "path",
    [
        "root/.ssh/authorized_keys",
        "root/.ssh/authorized_keys2",
        "home/me/.ssh/authorized_keys",
        "srv/git/.ssh/authorized_keys",
        "var/lib/jenkins/.ssh/authorized_keys",
        "etc/ssh/authorized_keys.d/root",
    ],
)
def test_a_key_that_may_log_in_is_found_in_every_home(path: str) -> None:
    for line in (PUBLIC, f'command="/bin/x y",no-pty {PUBLIC}', f"\n# laptop\n\t{PUBLIC}"):
        assert ("authorized-keys", path) in told(file(path, line + "\n"))


@pytest.mark.parametrize("text", ["", "\n", f"# {PUBLIC}\n", "# put keys here: ssh-ed25519 AAAA...\n"])
def test_an_authorized_keys_file_without_a_key_is_fine(text: str) -> None:
    assert told(file("root/.ssh/authorized_keys", text), file("var/lib/x/.ssh/authorized_keys", text)) == []


def test_people_are_told_with_line_id_and_shell() -> None:
    passwd = (
        "root:x:0:0:root:/root:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        "app:x:1000:1000::/srv/app:/usr/sbin/nologin\n"
        "svc:x:999:999::/srv/svc:/bin/sh\n"
        "ubuntu:x:1001:1001:Ubuntu:/home/ubuntu:/bin/bash\n"
        "bare:x:59999:100::/:\n"
        "far:x:60000:100::/:/bin/sh\n"
    )
    findings = found(file("etc/passwd", passwd))
    assert [finding.message for finding in findings] == [
        "line 5: user ubuntu (uid 1001) with the login shell /bin/bash",
        "line 6: user bare (uid 59999) with the login shell /bin/sh",
    ]
    assert findings[0].hint == "userdel --remove ubuntu in the image"


def test_files_below_home_are_counted_by_home_directory() -> None:
    members = [directory(b"home/a"), file("home/a/.profile", ""), symlink(b"home/a/x", b"y"), directory(b"home/b/c")]
    findings = found(directory(b"home"), *members)
    assert [(finding.path, finding.message) for finding in findings] == [
        (b"home/a", "contains 2 files of a user or build")
    ]


KEYS = {
    "RSA": (pem("RSA PRIVATE KEY"), "a private key"),
    "EC": ("some text\n" + pem("EC PRIVATE KEY"), "a private key"),
    "PKCS 8": (pem("PRIVATE KEY"), "a private key"),
    "PGP": (pem("PGP PRIVATE KEY BLOCK", f"Version: GnuPG v2\n\n{BODY}"), "a private key"),
    "OpenSSH": (pem("OPENSSH PRIVATE KEY", OPENSSH_PLAIN), "a private key"),
    "service account": (f'{{"private_key": "-----BEGIN PRIVATE KEY-----\\n{BODY}\\n"}}', "a private key"),
    "indented": ("key: |\n  -----BEGIN PRIVATE KEY-----\n  " + BODY, "a private key"),
    "CRLF": (pem("RSA PRIVATE KEY").replace("\n", "\r\n"), "a private key"),
    "encrypted PKCS 8": (pem("ENCRYPTED PRIVATE KEY"), "an encrypted private key"),
    "encrypted RSA": (
        pem("RSA PRIVATE KEY", f"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n{BODY}"),
        "an encrypted private key",
    ),
    "encrypted OpenSSH": (pem("OPENSSH PRIVATE KEY", OPENSSH_ENCRYPTED), "an encrypted private key"),
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("path", ["root/.ssh/id", "etc/ssl/private/www.key", "opt/app/key.txt", "srv/k/host.pem"])
def test_private_keys_of_every_form_are_found(name: str, path: str) -> None:
    text, what = KEYS[name]
    (finding,) = found(file(path, text))
    assert (finding.check, finding.path) == ("private-keys", path.encode())
    line = text[: text.index("-----BEGIN")].count("\n") + 1
    assert finding.message.startswith(f"line {line}: {what}")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/ssl/private/ssl-cert-snakeoil.key", pem("PRIVATE KEY")),
        ("usr/share/doc/openssl/examples/key.pem", pem("RSA PRIVATE KEY")),
        ("usr/lib/python3/dist-packages/twisted/test/server.pem", pem("PRIVATE KEY")),
        ("opt/venv/lib/python3.11/site-packages/tornado/test/test.key", pem("PRIVATE KEY")),
        ("opt/sdk/third_party/auth/tests/data/privatekey.pem", pem("PRIVATE KEY")),
        ("opt/app/node_modules/https/test/fixtures/agent.key", pem("PRIVATE KEY")),
        ("etc/ssh/ssh_host_ed25519_key", pem("OPENSSH PRIVATE KEY", OPENSSH_PLAIN)),
        ("etc/ssl/certs/ca.pem", pem("CERTIFICATE")),
        ("etc/ssh/ca.pub", PUBLIC),
        ("root/.ssh/id_ed25519.pub", PUBLIC),
        ("etc/ssl/public.pem", pem("PUBLIC KEY")),
        ("etc/app/example.conf", "\n".join("# " + line for line in pem("RSA PRIVATE KEY").splitlines())),
        ("etc/app/readme", "paste it between -----BEGIN RSA PRIVATE KEY-----\nMIIE...\n"),
        ("opt/app/code.py", 'if text.startswith("-----BEGIN PRIVATE KEY-----\\n"):\n    load(text)\n' + BODY),
    ],
)
def test_what_only_looks_like_a_private_key_is_passed_over(path: str, text: str) -> None:
    assert told(file(path, text)) == []


CREDENTIALS = [
    (
        "aws-credentials",
        "root/.aws/credentials",
        f"[default]\naws_access_key_id = AKIA\naws_secret_access_key={SECRET}",
    ),
    ("aws-credentials", "srv/x/.aws/config", f"aws_session_token = {SECRET}"),
    ("gcloud-credentials", "root/.config/gcloud/credentials.db", f'SQLite\0{{"refresh_token": "{SECRET}"}}'),
    ("gcloud-credentials", "root/.config/gcloud/access_tokens.db", f"SQLite\0me ya29.{SECRET}{SECRET}"),
    ("gcloud-credentials", "root/.config/gcloud/legacy_credentials/me/adc.json", f'{{"client_secret":"{SECRET}"}}'),
    ("azure-credentials", "root/.azure/msal_token_cache.json", f'{{"AccessToken": {{"a": {{"secret": "{SECRET}"}}}}}}'),
    ("azure-credentials", "root/.azure/msal_token_cache.bin", f"\x01\x02{SECRET}"),
    ("azure-credentials", "root/.azure/accessTokens.json", f'[{{"accessToken": "{SECRET}"}}]'),
    ("kube-config", "root/.kube/config", f"users:\n- user:\n    token: {SECRET}\n"),
    ("kube-config", "etc/kubernetes/admin.conf", f"    client-key-data: {SECRET}\n"),
    ("kube-config", "root/.kube/config", f'{{"users":[{{"user":{{"password":"{SECRET}"}}}}]}}'),
    ("docker-auths", "root/.docker/config.json", f'{{"auths": {{"r.example": {{"auth": "{SECRET}"}}}}}}'),
    ("docker-auths", "root/.config/containers/auth.json", f'{{"auths": {{"r": {{\n"identitytoken" : "{SECRET}"}}}}}}'),
    ("netrc", "root/.netrc", f"machine h.example login me password {SECRET}\n"),
    ("netrc", "etc/apt/auth.conf.d/internal.conf", f"machine h.example\nlogin me\npassword {SECRET}\n"),
    ("netrc", "etc/apt/auth.conf", f"machine h.example login me password {SECRET}"),
    ("git-credentials", "root/.git-credentials", f"https://me:{SECRET}@git.example\n"),
    ("git-credentials", "opt/app/.git/config", f'[remote "origin"]\n\turl = https://{SECRET}@git.example/x.git\n'),
    ("git-credentials", "root/.gitconfig", f'[url "https://x:{SECRET}@git.example/"]\n'),
    ("npmrc", "root/.npmrc", f"//npm.example/:_authToken={SECRET}\n"),
    ("npmrc", "opt/app/.npmrc", f"; x\n_auth = {SECRET}\n"),
    ("npmrc", "etc/npmrc", f"//npm.example/:_password='{SECRET}'\n"),
    ("pypirc", "root/.pypirc", f"[internal]\nusername: me\npassword: {SECRET}\n"),
    ("vault-token", "root/.vault-token", SECRET),
]


@pytest.mark.parametrize(("id", "path", "text"), CREDENTIALS)
def test_credentials_are_found_with_file_and_line(id: str, path: str, text: str) -> None:
    (finding,) = found(file(path, text))
    assert (finding.check, finding.path) == (id, path.encode())
    assert finding.message.startswith("line ")


def test_every_kind_of_credential_has_a_positive_case() -> None:
    groups = {"root-password", "user-passwords", "authorized-keys", "human-users", "home-files", "private-keys"}
    groups.add("build-residue")
    assert {id for id, _, _ in CREDENTIALS} | groups == {check.id for check in SECRETS}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("root/.aws/config", "[default]\nregion = eu-central-1\noutput = json\n"),
        ("root/.aws/credentials", f"# aws_secret_access_key = {SECRET}\n"),
        ("root/.aws/credentials", "aws_secret_access_key = <your key>\naws_session_token =\n"),
        (
            "root/.config/gcloud/credentials.db",
            "SQLite format 3\0CREATE TABLE credentials (account_id TEXT, value BLOB)",
        ),
        ("root/.config/gcloud/access_tokens.db", "SQLite format 3\0CREATE TABLE access_tokens (access_token TEXT)"),
        ("root/.azure/msal_token_cache.json", "{}"),
        ("root/.azure/msal_token_cache.bin", ""),
        ("root/.azure/azureProfile.json", '{"subscriptions": []}'),
        ("root/.kube/config", "apiVersion: v1\nusers:\n- user:\n    tokenFile: /run/token\n    exec: {command: aws}\n"),
        ("root/.docker/config.json", '{"auths": {}, "credsStore": "pass"}'),
        ("root/.docker/config.json", '{"auths": {"r.example": {}}, "HttpHeaders": {"User-Agent": "Docker"}}'),
        ("root/.docker/config.json", '{"auths": {"r.example": {"auth": ""}}}'),
        ("root/.docker/config.json", '{"auths": {"r.example": {"auth": "${REGISTRY_AUTH}"}}}'),
        ("root/.netrc", f"# machine h.example login me password {SECRET}\nmachine h.example login me\n"),
        ("etc/apt/auth.conf.d/README", "See apt_auth.conf(5).\n"),
        ("root/.gitconfig", '[url "git@git.example:"]\n\tinsteadOf = https://git.example/\n'),
        ("opt/app/.git/config", "url = https://me@git.example/x.git\n"),
        ("opt/app/.git/config", f"# url = https://me:{SECRET}@git.example/x.git\n"),
        ("opt/app/.git/config", "url = https://me:${TOKEN}@git.example/x.git\n"),
        ("root/.npmrc", "registry=https://npm.example/\nsave-exact=true\n"),
        ("root/.npmrc", "//npm.example/:_authToken=${NPM_TOKEN}\n"),
        ("root/.npmrc", '//npm.example/:_authToken="$NPM_TOKEN"\n'),
        ("root/.npmrc", f"; //npm.example/:_authToken={SECRET}\n# _auth={SECRET}\n"),
        ("root/.pypirc", "[distutils]\nindex-servers = internal\n[internal]\nusername = __token__\npassword =\n"),
        ("root/.pypirc", "password = {{ pypi_password }}\n"),
        ("root/.vault-token", "\n"),
        ("usr/share/doc/npm/.npmrc", f"_authToken={SECRET}\n"),
    ],
)
def test_settings_references_comments_and_examples_are_no_credentials(path: str, text: str) -> None:
    assert told(file(path, text)) == []


def test_several_secrets_in_one_file_are_told_each() -> None:
    text = f'{{"client_secret": "{SECRET}",\n"private_key": "-----BEGIN PRIVATE KEY-----\\n{BODY}"}}'
    path = "root/.config/gcloud/application_default_credentials.json"
    assert {id for id, _ in told(file(path, text))} == {"private-keys", "gcloud-credentials"}


def test_the_rows_are_part_of_the_table() -> None:
    assert set(SECRETS) <= set(CHECKS)


@pytest.mark.parametrize("path", ["etc/vzdump/pct.conf", "etc/vzdump/pct.fw", "provenance.json", "sbom.spdx.json"])
def test_files_of_backups_and_image_builders_are_found(path: str) -> None:
    assert told(file(path, "x")) == [("build-residue", path)]
    assert told(directory(b"etc/vzdump"), file("usr/share/provenance.json", "x")) == []
