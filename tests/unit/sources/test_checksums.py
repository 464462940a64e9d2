"""Checksum files next to an archive, in every form that tools write; sha256sum is the judge where it is installed."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from lxcast.errors import ArchiveError, SourceError
from lxcast.sources import open_source
from tests.image_files import layer

DATA = layer([("etc", "dir", 0o755)])
RIGHT = hashlib.sha256(DATA).hexdigest()
WRONG = "0" * 64
NAME = "rootfs.tar"

FORMS = {
    "text": "{hex}  {name}",
    "binary": "{hex} *{name}",
    "one blank": "{hex} {name}",
    "a tab": "{hex}\t{name}",
    "indented": "  {hex}  {name}",
    "below the directory": "{hex}  ./{name}",
    "BSD": "SHA256 ({name}) = {hex}",
    "BSD below the directory": "SHA256 (./{name}) = {hex}",
    "OpenSSL": "SHA256({name})= {hex}",
    "OpenSSL 3": "SHA2-256({name})= {hex}",
    "a prefix": "sha256:{hex}  {name}",
    "CRLF": "{hex}  {name}\r",
    "BSD and CRLF": "SHA256 ({name}) = {hex}\r",
    "dash-escaped": "- {hex}  {name}",
}
SIGNED = """-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

# rootfs.tar: 2048 bytes
SHA256 (other.iso) = {other}
{line}
-----BEGIN PGP SIGNATURE-----

iQIzBAEBCAAdFiEErootfs.tar=
-----END PGP SIGNATURE-----
"""


def read(path: Path) -> list[bytes]:
    with open_source(str(path)).members() as members:
        return [member.path for member in members]


def placed(directory: Path, sums: str, content: str | bytes, name: str = NAME) -> Path:
    """Write the archive and a checksum file next to it."""
    (directory / name).write_bytes(DATA)
    (directory / sums).write_bytes(content if isinstance(content, bytes) else content.encode())
    return directory / name


@pytest.mark.parametrize("upper", [False, True], ids=["lower", "upper"])
@pytest.mark.parametrize("form", FORMS)
def test_a_line_of_any_form_is_compared(tmp_path: Path, form: str, upper: bool) -> None:
    def line(digest: str) -> str:
        return FORMS[form].format(hex=digest.upper() if upper else digest, name=NAME)

    assert read(placed(tmp_path, "SHA256SUMS", f"{line(RIGHT)}\n")) == [b"etc"]
    assert read(placed(tmp_path, "SHA256SUMS", SIGNED.format(line=line(RIGHT), other=WRONG))) == [b"etc"]
    for content in (line(WRONG), SIGNED.format(line=line("ab" * 32), other=RIGHT)):
        with pytest.raises(ArchiveError, match=f"its digest is sha256:{RIGHT}"):
            read(placed(tmp_path, "SHA256SUMS", content))


@pytest.mark.parametrize(
    "sums",
    ["SHA256SUMS", "SHA256SUM", "sha256sums.txt", "sha256sum.txt", "CHECKSUM", "checksums.txt", "Cloud-42-CHECKSUM",
     "SHA256SUMS.asc", "rootfs.tar.sha256", "rootfs.tar.sha256sum"],
)  # fmt: skip
def test_a_checksum_file_of_any_usual_name_is_compared(tmp_path: Path, sums: str) -> None:
    assert read(placed(tmp_path, sums, f"{RIGHT}  {NAME}\n")) == [b"etc"]
    with pytest.raises(ArchiveError, match="is damaged"):
        read(placed(tmp_path, sums, f"{WRONG}  {NAME}\n"))


@pytest.mark.parametrize(
    "content", ["{hex}", "{hex}\n", "{hex}  -\n", "sha256:{hex}", "{hex}  name-at-the-build.tar\n"]
)
def test_a_checksum_file_of_one_file_belongs_to_it_whatever_it_was_called(tmp_path: Path, content: str) -> None:
    assert read(placed(tmp_path, f"{NAME}.sha256", content.format(hex=RIGHT))) == [b"etc"]
    with pytest.raises(ArchiveError, match="is damaged"):
        read(placed(tmp_path, f"{NAME}.sha256", content.format(hex=WRONG)))


@pytest.mark.parametrize("algorithm", ["sha512", "sha384", "sha1", "md5"])
@pytest.mark.parametrize("form", ["{tag} ({name}) = {hex}", "{hex}  {name}"])
def test_a_digest_of_another_algorithm_is_compared(tmp_path: Path, algorithm: str, form: str) -> None:
    digest = hashlib.new(algorithm, DATA).hexdigest()
    line = form.format(tag=algorithm.upper(), name=NAME, hex=digest)
    assert read(placed(tmp_path, "CHECKSUM", line)) == [b"etc"]
    with pytest.raises(ArchiveError, match=f"is damaged: its digest is {algorithm}:"):
        read(placed(tmp_path, "CHECKSUM", line.replace(digest, digest[::-1])))


def test_of_several_algorithms_sha256_is_compared_and_an_unknown_one_ignored(tmp_path: Path) -> None:
    lines = f"MD5 ({NAME}) = {'0' * 32}\nWHIRLPOOL ({NAME}) = {'0' * 128}\nSHA256 ({NAME}) = {{}}\n"
    assert read(placed(tmp_path, "CHECKSUM", lines.format(RIGHT))) == [b"etc"]
    with pytest.raises(ArchiveError, match="sha256:"):
        read(placed(tmp_path, "CHECKSUM", lines.format(WRONG)))


@pytest.mark.parametrize(
    "line",
    [
        f"{RIGHT[:-1]}  {NAME}",
        f"{RIGHT}0  {NAME}",
        f"{RIGHT[:-1]}g  {NAME}",
        f"SHA256 ({NAME}) = {RIGHT[:-2]}",
        f"SHA256 ({NAME}) = ",
        f"SHA512 ({NAME}) = {RIGHT}",
        f"WHIRLPOOL ({NAME}) = {'0' * 128}",
        f"{NAME}  {RIGHT}",
        f"{NAME}: {RIGHT[:20]}",
        f"sha512:{RIGHT}  {NAME}",
    ],
)
def test_a_line_for_the_file_that_cannot_be_read_is_an_error(tmp_path: Path, line: str) -> None:
    with pytest.raises(SourceError, match=f"SHA256SUMS: cannot read the line for {NAME}") as caught:
        read(placed(tmp_path, "SHA256SUMS", f"{WRONG}  other\n{line}\n"))
    assert f"sha256sum {NAME}" in caught.value.hint


@pytest.mark.parametrize(
    "line", [f"{WRONG}  my-{NAME}", f"{WRONG}  {NAME}.xz", f"{WRONG}  sub/{NAME}", f"# {NAME}", ""]
)
def test_lines_of_other_files_and_comments_are_ignored(tmp_path: Path, line: str) -> None:
    assert read(placed(tmp_path, "SHA256SUMS", f"{line}\n")) == [b"etc"]


def test_files_of_windows_are_read(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        with pytest.raises(ArchiveError, match="is damaged"):
            read(placed(tmp_path, "SHA256SUMS", f"{WRONG}  {NAME}\r\n".encode(encoding)))


def test_a_checksum_file_above_the_limit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="more than 16777216 bytes"):
        read(placed(tmp_path, "SHA256SUMS", b"x" * (16 << 20) + b"\n"))


@pytest.mark.parametrize("name", ["rootfs.tar", "a b.tar", "a\\b.tar", "a\nb.tar", "*star.tar", "(round).tar", "ä.tar"])
@pytest.mark.parametrize("options", [[], ["--binary"], ["--tag"]], ids=["text", "binary", "tag"])
def test_what_sha256sum_writes_is_compared_whatever_the_file_is_called(
    tmp_path: Path, name: str, options: list[str]
) -> None:
    (tmp_path / name).write_bytes(DATA)
    written = subprocess.run(["sha256sum", *options, name], cwd=tmp_path, capture_output=True, check=True).stdout
    assert read(placed(tmp_path, "SHA256SUMS", written, name)) == [b"etc"]
    with pytest.raises(ArchiveError, match="is damaged"):
        read(placed(tmp_path, "SHA256SUMS", written.replace(RIGHT.encode(), WRONG.encode()), name))
