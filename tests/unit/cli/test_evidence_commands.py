"""Build with --sign, sign and verify, as a user runs them."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.unit.cli.running import archive, lxcast
from tests.unit.rootfs.filesystems import minimal_debian

CACHE = Path("storage/template/cache")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rootfs.tar").write_bytes(archive(minimal_debian()))
    for command in (
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "id"],
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem"],
        ["openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "key.pub"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    Path("allowed").write_text(f"ci@example.org {Path('id.pub').read_text()}")
    return tmp_path


TRUST = ("--allowed-signers", "allowed", "--key", "key.pub", "--require", "statement", "--require", "signature")


def build(*options: str) -> None:
    done = lxcast("build", "rootfs.tar", "--name", "web", *options)
    assert done.returncode == 0, done.stderr


def test_a_signed_build_verifies_by_name_by_id_and_by_path(home: Path) -> None:
    build("--sign", "ssh:id", "--sign", "key:key.pem")
    for template in ("web", "web:v1", "local:vztmpl/web-v1.tar.zst", str(CACHE / "web-v1.tar.zst")):
        done = lxcast("verify", template, *TRUST)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "ssh: signed by ci@example.org" in done.stdout
    rows = json.loads(lxcast("verify", "web", *TRUST, "--json").stdout)["rows"]
    assert [(row["name"], row["state"]) for row in rows] == [
        ("record", "ok"),
        ("statement", "ok"),
        ("signature", "ok"),
        ("signature", "ok"),
        ("signature", "ok"),
    ]


def test_the_signatures_verify_with_the_commands_that_everyone_has(home: Path) -> None:
    build("--sign", "ssh:id")
    checksum = CACHE / "web-v1.tar.zst.sha256"
    subprocess.run(["sha256sum", "-c", checksum.name], cwd=CACHE, check=True, capture_output=True)
    verify = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "ci@example.org", "-n", "lxcast"]
    with checksum.open("rb") as file:
        subprocess.run([*verify, "-s", f"{checksum}.sig"], stdin=file, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("web-v1.tar.zst", "its record has"),
        ("web-v1.tar.zst.sha256", "the file has sha256"),
        ("web-v1.intoto.json", "statement"),
        ("web-v1.dsse.json", "dsse.json"),
        ("web-v1.sigstore.json", "sigstore.json"),
        ("web-v1.tar.zst.sha256.sig", "ssh"),
    ],
)
def test_a_changed_byte_in_any_file_fails_the_verification(home: Path, file: str, message: str) -> None:
    build("--sign", "ssh:id", "--sign", "key:key.pem")
    path = CACHE / file
    data = bytearray(path.read_bytes())
    # A digit of a digest or of base64 near the middle, so that JSON stays JSON.
    at = next(i for i in range(len(data) // 2, len(data)) if chr(data[i]).isalnum())
    data[at] = ord("1") if data[at] != ord("1") else ord("2")
    path.write_bytes(data)
    done = lxcast("verify", str(CACHE / "web-v1.tar.zst"), *TRUST)
    assert done.returncode == 13
    assert [line for line in done.stdout.splitlines() if "FAILED" in line and message in line]


def test_a_record_with_another_digest_fails_the_verification(home: Path) -> None:
    build()
    record = CACHE / "web-v1.json"
    data = json.loads(record.read_text())
    record.write_text(json.dumps(data | {"sha256": "0" * 64}))
    done = lxcast("verify", "web")
    assert done.returncode == 13
    assert f"its record has {'0' * 64}" in done.stdout


def test_what_is_required_and_missing_fails_and_is_named(home: Path) -> None:
    build()
    assert lxcast("verify", "web").returncode == 0
    done = lxcast("verify", "web", *TRUST)
    assert done.returncode == 13
    assert "required, but missing: there is no signature" in done.stdout
    assert "required, but missing: there is no provenance statement" in done.stdout


def test_a_template_can_be_signed_after_the_build(home: Path) -> None:
    build("--provenance")
    assert lxcast("sign", "web", "--sign", "ssh:id", "--sign", "key:key.pem").returncode == 0
    assert lxcast("verify", "web", *TRUST).returncode == 0


def test_a_template_of_a_plain_directory_is_signed_by_its_path(home: Path) -> None:
    assert lxcast("build", "rootfs.tar", "--name", "web", "--output", "out", "--sign", "ssh:id").returncode == 0
    assert lxcast("sign", "out/web-v1.tar.zst", "--sign", "key:key.pem").returncode == 0
    assert lxcast("verify", "out/web-v1.tar.zst", *TRUST).returncode == 0


def test_a_failed_signature_says_that_the_template_is_published_and_how_to_sign_it(home: Path) -> None:
    done = lxcast("build", "rootfs.tar", "--name", "web", "--sign", "ssh:missing")
    assert done.returncode == 13
    assert "local:vztmpl/web-v1.tar.zst is published" in done.stderr
    assert "lxcast sign local:vztmpl/web-v1.tar.zst --sign ssh:missing" in done.stderr
    assert (CACHE / "web-v1.tar.zst").is_file()


def test_an_invalid_signer_is_refused_before_anything_is_read(home: Path) -> None:
    done = lxcast("build", "missing.tar", "--name", "web", "--sign", "pgp:me")
    assert done.returncode == 2
    assert "expected KIND:KEY" in done.stderr


def test_a_policy_file_names_signers_builders_and_sources(home: Path) -> None:
    build("--sign", "ssh:id")
    policy = home / "policy.toml"

    def verify(text: str) -> "subprocess.CompletedProcess[str]":
        policy.write_text(f'allowed_signers = "allowed"\nrequire = ["statement", "signature"]\n{text}')
        return lxcast("verify", "web", "--policy", "policy.toml")

    assert verify('signers = ["*@example.org"]\nsources = ["tar:*"]').returncode == 0
    for text, message in (
        ('signers = ["release@example.org"]', "signed by ci@example.org, expected release@example.org"),
        ('builders = ["https://ci.example.org/*"]', "expected https://ci.example.org/*"),
        ('sources = ["docker-daemon:*"]', "made from tar:rootfs.tar, expected docker-daemon:*"),
    ):
        done = verify(text)
        assert done.returncode == 13
        assert message in done.stdout
    done = verify('signer = "x"\nbuilders = "y"')
    assert done.returncode == 2
    assert "unknown key signer" in done.stderr
    assert "builders: expected a list of strings" in done.stderr


def test_sidecars_are_removed_with_their_template(home: Path) -> None:
    build("--sign", "ssh:id", "--sign", "key:key.pem")
    assert lxcast("remove", "local:vztmpl/web-v1.tar.zst", "--apply").returncode == 0
    assert [each.name for each in CACHE.iterdir()] == ["web-v1.json"]
