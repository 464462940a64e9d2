"""Signatures made and verified with the real ssh-keygen, gpg and openssl."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lxcast.errors import EvidenceError, UsageError
from lxcast.evidence.envelope import encode_for_signing, parse_envelope
from lxcast.evidence.signatures import Signer, Subject, verify_envelope, verify_gpg, verify_ssh
from lxcast.identifiers import SIGN_PASSPHRASE

FILE = "debian-12-v4.tar.zst"
CHECKSUM = b"0" * 64 + b"  " + FILE.encode() + b"\n"
STATEMENT = b'{"_type": "https://in-toto.io/Statement/v1"}'
SUBJECT = Subject(FILE, CHECKSUM, STATEMENT)


def run(*command: object, **options: str) -> None:
    subprocess.run([*map(str, command)], check=True, capture_output=True, env={**os.environ, **options})


def make_ssh_key(path: Path, passphrase: str = "") -> Path:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", path)
    return path


def allow(key: Path, principal: str = "ci@example.org") -> Path:
    file = key.with_name("allowed_signers")
    file.write_text(f"{principal} {key.with_suffix('.pub').read_text()}")
    return file


def make_key(path: Path, *algorithm: str, passphrase: str = "") -> Path:
    cipher = ["-aes256", "-pass", f"pass:{passphrase}"] if passphrase else []
    run("openssl", "genpkey", *algorithm, *cipher, "-out", path)
    run("openssl", "pkey", "-in", path, "-passin", f"pass:{passphrase}", "-pubout", "-out", path.with_suffix(".pub"))
    return path


P256 = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


@pytest.mark.parametrize("passphrase", ["", "correct horse"])
def test_an_ssh_signature_verifies_with_ssh_keygen_and_with_lxcast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passphrase: str
) -> None:
    key = make_ssh_key(tmp_path / "id", passphrase)
    monkeypatch.setenv(SIGN_PASSPHRASE, passphrase)
    sidecars = Signer.parse(f"ssh:{key}").sign(SUBJECT)
    assert list(sidecars) == [".sha256.sig"]
    (tmp_path / "sig").write_bytes(sidecars[".sha256.sig"])
    command = ["ssh-keygen", "-Y", "verify", "-f", allow(key), "-I", "ci@example.org", "-n", "lxcast"]
    subprocess.run([*map(str, command), "-s", tmp_path / "sig"], input=CHECKSUM, check=True, capture_output=True)
    assert verify_ssh(CHECKSUM, sidecars[".sha256.sig"], allow(key)) == "ci@example.org"


def test_a_wrong_ssh_passphrase_is_an_error_that_names_the_variable_and_not_the_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_ssh_key(tmp_path / "id", "right one")
    monkeypatch.setenv(SIGN_PASSPHRASE, "wrong one")
    with pytest.raises(EvidenceError) as raised:
        Signer.parse(f"ssh:{key}").sign(SUBJECT)
    assert SIGN_PASSPHRASE in raised.value.hint
    assert "wrong one" not in f"{raised.value} {raised.value.hint}"


def test_an_ssh_signature_of_a_stranger_or_of_another_file_does_not_verify(tmp_path: Path) -> None:
    (signature,) = Signer.parse(f"ssh:{make_ssh_key(tmp_path / 'id')}").sign(SUBJECT).values()
    (tmp_path / "other").mkdir()
    stranger = allow(make_ssh_key(tmp_path / "other" / "id"))
    with pytest.raises(EvidenceError, match="no signer of"):
        verify_ssh(CHECKSUM, signature, stranger)
    with pytest.raises(EvidenceError, match="does not match the checksum file"):
        verify_ssh(CHECKSUM.replace(b"0", b"1", 1), signature, allow(tmp_path / "id"))


@pytest.fixture
def gpg_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    return home


@pytest.mark.parametrize("passphrase", ["", "correct horse"])
def test_a_gpg_signature_verifies_against_a_binary_and_an_armored_keyring(
    tmp_path: Path, gpg_home: Path, monkeypatch: pytest.MonkeyPatch, passphrase: str
) -> None:
    user = "Builder <ci@example.org>"
    generate = ["gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase, "--quick-gen-key", user]
    run(*generate, "ed25519", "sign", "never")
    monkeypatch.setenv(SIGN_PASSPHRASE, passphrase)
    try:
        (signature,) = Signer.parse("gpg:ci@example.org").sign(SUBJECT).values()
        for armor in ([], ["--armor"]):
            keyring = tmp_path / "keyring"
            run("gpg", "--batch", "--yes", *armor, "--output", keyring, "--export", "ci@example.org")
            assert verify_gpg(CHECKSUM, signature, keyring) == user
        with pytest.raises(EvidenceError, match="not made by a valid key"):
            verify_gpg(b"x" + CHECKSUM, signature, keyring)
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], check=True, env={**os.environ, "GNUPGHOME": str(gpg_home)})


@pytest.mark.parametrize(
    "algorithm", [P256, ("-algorithm", "ED25519"), ("-algorithm", "RSA")], ids=["p256", "ed25519", "rsa"]
)
@pytest.mark.parametrize("passphrase", ["", "correct horse"])
def test_a_statement_signed_with_a_pem_key_verifies_in_the_envelope_and_in_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: tuple[str, ...], passphrase: str
) -> None:
    key = make_key(tmp_path / "key.pem", *algorithm, passphrase=passphrase)
    monkeypatch.setenv(SIGN_PASSPHRASE, passphrase)
    sidecars = Signer.parse(f"key:{key}").sign(SUBJECT)
    monkeypatch.delenv(SIGN_PASSPHRASE)  # to verify takes no secret
    assert list(sidecars) == [".dsse.json", ".sigstore.json"]
    for name, data in sidecars.items():
        assert verify_envelope(data, name, key.with_suffix(".pub")) == STATEMENT


def test_an_envelope_has_the_encoding_of_the_dsse_specification() -> None:
    assert encode_for_signing(b"hello") == b"DSSEv1 28 application/vnd.in-toto+json 5 hello"


@pytest.mark.parametrize("name", [".dsse.json", ".sigstore.json"])
def test_a_changed_statement_or_another_key_does_not_verify(tmp_path: Path, name: str) -> None:
    key = make_key(tmp_path / "key.pem", *P256)
    other = make_key(tmp_path / "other.pem", *P256).with_suffix(".pub")
    data = Signer.parse(f"key:{key}").sign(SUBJECT)[name]
    with pytest.raises(EvidenceError, match="was not made with"):
        verify_envelope(data, name, other)
    document = json.loads(data)
    envelope = document.get("dsseEnvelope", document)
    envelope["payload"] = "e30="
    with pytest.raises(EvidenceError, match="or the statement was changed"):
        verify_envelope(json.dumps(document).encode(), name, key.with_suffix(".pub"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "holds no DSSE envelope"),
        (b'{"mediaType": "x"}', "holds no DSSE envelope"),
        (b'{"payloadType": "text/plain"}', "expected payloadType"),
        (b'{"payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": []}', "has no signature"),
        (
            b'{"payloadType": "application/vnd.in-toto+json", "payload": "?", "signatures": [{"sig": "e30="}]}',
            "malformed",
        ),
        (b'{"payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": [7]}', "malformed"),
    ],
)
def test_a_malformed_envelope_is_named(data: bytes, message: str) -> None:
    with pytest.raises(EvidenceError, match=message):
        parse_envelope(data, "x.dsse.json")


def test_keys_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    p384 = make_key(tmp_path / "p384.pem", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")
    cosign = tmp_path / "cosign.key"
    cosign.write_text("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n")
    encrypted = make_key(tmp_path / "encrypted.pem", *P256, passphrase="secret")
    for key, message in (
        (p384, "expected EC P-256, ed25519 or RSA"),
        (cosign, "cosign's own format"),
        (encrypted, "cannot read the private key"),
        (tmp_path / "missing", "No such file"),
    ):
        with pytest.raises(EvidenceError, match=message):
            Signer.parse(f"key:{key}").sign(SUBJECT)


@pytest.mark.parametrize("text", ["", "ssh", "ssh:", "pgp:x", "key"])
def test_a_signer_that_is_not_kind_and_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected KIND:KEY"):
        Signer.parse(text)


def test_a_statement_is_required_by_the_kinds_that_sign_one(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key.pem", *P256)
    with pytest.raises(EvidenceError, match="no provenance statement"):
        Signer.parse(f"key:{key}").sign(Subject(FILE, CHECKSUM, b""))


def test_a_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_ssh_key(tmp_path / "id")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EvidenceError, match="ssh-keygen is not installed") as raised:
        Signer.parse(f"ssh:{key}").sign(SUBJECT)
    assert "openssh-client" in raised.value.hint


@pytest.mark.parametrize("kind", ["ssh", "key"])
def test_a_passphrase_never_reaches_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Programs of the same names, earlier on PATH, note their arguments and call the real ones."""
    secret = "correct horse battery"
    key = make_ssh_key(tmp_path / "id", secret) if kind == "ssh" else make_key(tmp_path / "k", *P256, passphrase=secret)
    bin, log = tmp_path / "bin", tmp_path / "log"
    bin.mkdir()
    for program in ("ssh-keygen", "openssl"):
        real = shutil.which(program)
        (bin / program).write_text(f'#!/bin/sh\necho "$*" >> {log}\nexec {real} "$@"\n')
        (bin / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
    monkeypatch.setenv(SIGN_PASSPHRASE, secret)
    Signer.parse(f"{kind}:{key}").sign(SUBJECT)
    assert log.read_text()
    assert "horse" not in log.read_text()
