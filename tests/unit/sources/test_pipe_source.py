"""What comes from a pipe is told as it comes: a root filesystem, or an archive around one."""

import gzip
import json
import lzma
import os
import subprocess
import tarfile
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from lxcast.errors import ArchiveError, SourceError
from lxcast.sources import open_source
from lxcast.tar.member import regular
from tests.image_files import Line, docker_archive, layer, layout
from tests.unit.cli.running import COMMAND, archive, environment, wait_for
from tests.unit.rootfs.filesystems import minimal_debian

INNER = layer([("etc", "dir", 0o755), ("etc/big", "file", bytes(3_000_000)), ("sbin", "symlink", "usr/sbin")])
META = lzma.compress(layer([]))


def outer(files: dict[str, bytes]) -> bytes:
    return layer([(name, "file", content) for name, content in files.items()])


def read(tmp_path: Path, data: bytes) -> tuple[list[tuple[bytes, int]], list[str]]:
    """Return path and size of each member that comes through a named pipe, and the warnings."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with suppress(BrokenPipeError):  # what is wrong may be told before its end
            pipe.write_bytes(data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        source = open_source(str(pipe))
        assert not source.rereadable
        with source.members() as members:
            found = []
            for member in members:
                assert sum(map(len, member.chunks())) == member.stored
                found.append((member.path, member.size))
        return found, source.warnings
    finally:
        writer.join(240)


WITHIN = [(b"etc", 0), (b"etc/big", 3_000_000), (b"sbin", 0)]


@pytest.mark.parametrize(
    "files",
    [
        {"meta.tar.xz": META, "rootfs.tar.xz": lzma.compress(INNER)},
        {"./rootfs.tar": INNER, "./metadata.yaml": b"architecture: x86_64\n", "./templates/hostname.tpl": b"x"},
        {"rootfs.tar.gz": gzip.compress(INNER)},
    ],
    ids=lambda files: " ".join(files),
)
@pytest.mark.parametrize("pack", [bytes, lzma.compress], ids=["plain", "xz"])
def test_the_inner_archive_comes(tmp_path: Path, files: dict[str, bytes], pack: type[bytes]) -> None:
    found, (warning,) = read(tmp_path, pack(outer(files)))
    assert found == WITHIN
    assert "rootfs.tar" in warning


UNIFIED: list[Line] = [
    (
        "metadata.yaml",
        "file",
        b"properties: {release: bookworm}\ntemplates: {/etc/x: {when: [create], template: x.tpl}}",
    ),
    ("templates/x.tpl", "file", b"text"),
    ("rootfs", "dir", 0o755),
    ("rootfs/etc", "dir", 0o755),
    ("rootfs/etc/a", "file", b"a"),
    ("rootfs/etc/b", "link", "rootfs/etc/a"),
]


@pytest.mark.parametrize("pack", [bytes, lzma.compress], ids=["plain", "xz"])
def test_a_unified_archive_comes_when_its_metadata_does_first(tmp_path: Path, pack: type[bytes]) -> None:
    found, warnings = read(tmp_path, pack(layer(UNIFIED)))
    assert found == [(b"", 0), (b"etc", 0), (b"etc/a", 1), (b"etc/b", 0)]
    assert warnings == []


def test_templates_after_the_root_filesystem_are_read_from_a_temporary_file(tmp_path: Path) -> None:
    data = layer([UNIFIED[0], *UNIFIED[2:], UNIFIED[1]])
    (tmp_path / "x.tar").write_bytes(data)
    source = open_source(str(tmp_path / "x.tar"))
    with source.members() as members:
        expected = [(member.path, member.size) for member in members]
    assert read(tmp_path, data) == (expected, [])


def test_a_damaged_squashfs_image_is_reported_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="sqfs2tar"):
        read(tmp_path, b"hsqs" + bytes(2000))


@pytest.mark.parametrize("kind", ["saved", "layout", "layout backwards"])
def test_an_image_is_read_from_a_temporary_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.tar"
    if kind == "saved":
        docker_archive(path, [INNER])
    else:
        made = layout(tmp_path / "image", [[("etc", "dir", 0o755), ("etc/big", "file", bytes(3_000_000))]])
        names = ["blobs", "index.json", "oci-layout"]
        with tarfile.open(path, "w") as tar:
            for name in names if kind == "layout" else names[::-1]:
                tar.add(made.folder / name, name)
    found, _ = read(tmp_path, path.read_bytes())
    assert set(found) >= {(b"etc", 0), (b"etc/big", 3_000_000)}


def test_a_saved_image_from_standard_input_gives_what_the_file_gives(tmp_path: Path) -> None:
    docker_archive(tmp_path / "saved.tar", [archive(minimal_debian())])
    built_twice(tmp_path, (tmp_path / "saved.tar").read_bytes())
    record = json.loads((tmp_path / "out/x-v2.json").read_text())
    assert (record["source"]["kind"], record["source"]["reference"]) == ("docker-archive", "-")


def test_a_full_temporary_directory_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker_archive(tmp_path / "saved.tar", [INNER])
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with pytest.raises(SourceError, match="cannot be copied to /proc") as raised:
        read(tmp_path, (tmp_path / "saved.tar").read_bytes())
    assert "TMPDIR" in raised.value.hint


def test_a_root_filesystem_may_have_names_that_images_have(tmp_path: Path) -> None:
    lines: list[Line] = [("blobs", "dir", 0o755), ("index.json", "file", b"{}"), ("etc", "dir", 0o755)]
    assert read(tmp_path, layer(lines)) == ([(b"blobs", 0), (b"index.json", 2), (b"etc", 0)], [])


def test_malformed_metadata_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"metadata\.yaml is not YAML"):
        read(tmp_path, layer([("metadata.yaml", "file", b"{"), *UNIFIED[2:]]))


def test_a_folder_rootfs_without_metadata_comes_as_it_is(tmp_path: Path) -> None:
    assert read(tmp_path, layer(UNIFIED[2:4])) == ([(b"rootfs", 0), (b"rootfs/etc", 0)], [])


def test_metadata_that_has_no_end_is_not_held(tmp_path: Path) -> None:
    many = [(f"templates/{number}", "file", b"") for number in range(10_002)]
    assert len(read(tmp_path, layer([UNIFIED[0], *many, *UNIFIED[2:]]))[0]) == 1 + 10_002 + 4


@pytest.mark.parametrize("pack", [bytes, lzma.compress], ids=["plain", "xz"])
def test_a_root_filesystem_comes_as_it_is(tmp_path: Path, pack: type[bytes]) -> None:
    assert read(tmp_path, pack(INNER)) == (WITHIN, [])


def test_files_that_could_be_metadata_are_not_lost(tmp_path: Path) -> None:
    data = layer([("config", "file", b"abc"), ("templates", "dir", 0o755), ("etc", "dir", 0o755)])
    assert read(tmp_path, data) == ([(b"config", 3), (b"templates", 0), (b"etc", 0)], [])


def test_nothing_but_metadata_comes_as_it_is(tmp_path: Path) -> None:
    assert read(tmp_path, outer({"metadata.yaml": b"x"})) == ([(b"metadata.yaml", 1)], [])


def test_large_files_are_not_held(tmp_path: Path) -> None:
    assert read(tmp_path, outer({"config": bytes(5 << 20), "expiry": b""}))[0] == [(b"config", 5 << 20), (b"expiry", 0)]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"rootfs.tar": INNER, "etc/passwd": b""}, r"contains /etc/passwd in addition to a root filesystem"),
        ({"rootfs.tar": INNER, "rootfs.tar.xz": b"x"}, r"several root filesystems"),
        ({"rootfs.tar.xz": lzma.compress(INNER)[:-20]}, r"rootfs\.tar\.xz: its xz data is truncated"),
    ],
)
def test_what_is_wrong_around_it_is_told(tmp_path: Path, files: dict[str, bytes], said: str) -> None:
    with pytest.raises(ArchiveError, match=said):
        read(tmp_path, outer(files))


def built_twice(tmp_path: Path, data: bytes) -> tuple[Path, str]:
    """Build from a file and from standard input; return the template, and what was said of the latter."""
    (tmp_path / "source.tar").write_bytes(data)
    for source in ("source.tar", "-"):
        with (tmp_path / "source.tar").open("rb") as stdin:
            line = [*COMMAND, "build", source, "--name", "x", "--output", "out"]
            done = subprocess.run(line, stdin=stdin, cwd=tmp_path, env=environment({}), capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    one, other = (tmp_path / f"out/x-v{number}" for number in (1, 2))
    assert Path(f"{one}.tar.zst").read_bytes() == Path(f"{other}.tar.zst").read_bytes()
    records = [json.loads(Path(f"{each}.json").read_text()) for each in (one, other)]
    assert records[0]["metadata"] == records[1]["metadata"]
    assert records[0]["release"] == records[1]["release"]
    return Path(f"{other}.tar.zst"), done.stderr


def test_a_build_from_standard_input_gives_what_the_file_gives(tmp_path: Path) -> None:
    data = lzma.compress(archive([*minimal_debian(), regular(b"srv/x", b"y")]))
    meta = lzma.compress(layer([UNIFIED[0], UNIFIED[1]]))
    template, said = built_twice(tmp_path, outer({"meta.tar.xz": meta, "rootfs.tar.xz": data}))
    assert "reading rootfs.tar.xz in it\n" in said
    subprocess.run(["tar", "-xOf", template, "./etc/x"], check=True)


def test_that_a_silent_pipe_is_waited_for_is_said(tmp_path: Path) -> None:
    line = [*COMMAND, "--log-file", "log", "build", "-", "--name", "x", "--output", "out"]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, cwd=tmp_path, env=environment({}), stdin=pipe, stdout=pipe, stderr=pipe) as process:
        wait_for("begin   waiting for -", tmp_path / "log", process)
        out, talk = process.communicate(archive(minimal_debian()), timeout=60)
    assert (process.returncode, out) == (0, b"out/x-v1.tar.zst\n"), talk


def test_a_unified_archive_from_standard_input_gives_what_the_file_gives(tmp_path: Path) -> None:
    inside = minimal_debian()
    for each in inside:
        each.path = (b"rootfs/" + each.path).rstrip(b"/")
    metadata = [regular(path.encode(), content) for path, _, content in UNIFIED[:2]]
    template, _ = built_twice(tmp_path, archive([*metadata, *inside]))
    subprocess.run(["tar", "-xOf", template, "./etc/x"], check=True)
