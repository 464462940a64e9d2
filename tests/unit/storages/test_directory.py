import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from lxcast.durable import Temporary
from lxcast.errors import ConflictError, StorageError, UsageError
from lxcast.model import Version
from lxcast.naming import naming
from lxcast.proxmox.upload_body import stamp
from lxcast.record import Origin, Record, parse_record
from lxcast.storages.directory import DirectoryStorage
from lxcast.storages.storage import Artifact, Claim
from tests.published import publish as publish_by_hand

DEBIAN = naming("debian-12")


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    made = DirectoryStorage(tmp_path / "storage", "nfs1")
    made.prepare()
    return made


def draft(content: bytes, name: str = "debian-12", diff: bytes | None = None) -> Record:
    return Record(
        name=name,
        size=len(content),
        unpacked_size=1,
        members=1,
        sha256=hashlib.sha256(content).hexdigest(),
        diff_id="sha256:" + hashlib.sha256(content if diff is None else diff).hexdigest(),
        format="zst",
        compressor="zstd",
        created="2026-11-21T10:33:00Z",
        lxcast="0.1.0",
        source=Origin("tar", "x.tar"),
    )


def artifact(file: Temporary, record: Record) -> Artifact:
    return Artifact(
        path=file.path,
        suffix=".tar.zst",
        size=record.size,
        sha256=record.sha256,
        stamp=stamp(file.fileno()),
        record=record,
        temporary=True,
    )


def publish(
    storage: DirectoryStorage, content: bytes, version: Version | None = None, diff: bytes | None = None
) -> Record:
    with Temporary(storage.workspace) as temporary, storage.claim(DEBIAN, version) as claim:
        temporary.write(content)
        return put(storage, temporary, claim, draft(content, diff=diff))


def put(storage: DirectoryStorage, file: Temporary, claim: Claim, record: Record) -> Record:
    published = storage.put(artifact(file, record), claim).record
    assert published
    return published


def find(storage: DirectoryStorage, name: str, version: Version | None = None, variant: str | None = None) -> Record:
    listing = storage.templates()
    return listing.select(name, version, variant).require_record(listing.location)


def files(storage: DirectoryStorage) -> list[str]:
    return sorted(path.name for path in storage.workspace.iterdir())


def test_a_template_its_record_and_its_checksum_lie_where_proxmox_looks(storage: DirectoryStorage) -> None:
    record = publish(storage, b"content")
    cache = storage.root / "template" / "cache"
    assert (record.version, record.file) == ("v1", "debian-12-v1.tar.zst")
    assert (record.template_id, record.storage) == ("nfs1:vztmpl/debian-12-v1.tar.zst", "nfs1")
    assert (cache / record.file).read_bytes() == b"content"
    assert parse_record((cache / "debian-12-v1.json").read_bytes(), "x") == record
    assert files(storage) == ["debian-12-v1.json", "debian-12-v1.tar.zst", "debian-12-v1.tar.zst.sha256"]
    done = subprocess.run(["sha256sum", "-c", f"{record.file}.sha256"], cwd=cache, capture_output=True, text=True)
    assert done.stdout == "debian-12-v1.tar.zst: OK\n"


def test_versions_grow_over_templates_records_and_burnt_claims(storage: DirectoryStorage) -> None:
    publish(storage, b"one")
    (storage.workspace / "debian-12-v4.tar.gz").write_bytes(b"put there by someone")
    assert publish(storage, b"two").version == "v5"
    (storage.workspace / "debian-12-v9.json").write_bytes(b"")
    assert storage.next_version(DEBIAN) == Version(10)
    (storage.workspace / "debian-12-v5.tar.zst").unlink()
    (storage.workspace / "debian-12-v9.json").unlink()
    assert publish(storage, b"three").version == "v6"


def test_a_claim_given_up_leaves_nothing_and_a_burnt_one_keeps_its_number(storage: DirectoryStorage) -> None:
    with storage.claim(DEBIAN):
        assert files(storage) == ["debian-12-v1.json"]
    assert files(storage) == []
    storage.claim(DEBIAN).burn()
    assert publish(storage, b"x").version == "v2"
    assert [entry.file for entry in storage.templates().templates] == ["debian-12-v2.tar.zst"]


def test_the_same_bytes_again_are_a_success_that_changes_nothing(storage: DirectoryStorage) -> None:
    first = publish(storage, b"content", Version(7))
    before = {path: path.stat().st_mtime_ns for path in storage.workspace.iterdir()}
    assert publish(storage, b"content", Version(7)) == first
    assert publish(storage, b"other compressor", Version(7), diff=b"content") == first
    assert {path: path.stat().st_mtime_ns for path in storage.workspace.iterdir()} == before


def test_other_bytes_under_a_published_name_are_a_conflict_with_both_digests(storage: DirectoryStorage) -> None:
    first = publish(storage, b"content", Version(7))
    with pytest.raises(ConflictError) as caught:
        publish(storage, b"other", Version(7))
    assert first.sha256 in caught.value.message
    assert draft(b"other").sha256 in caught.value.message
    assert (storage.workspace / first.file).read_bytes() == b"content"
    assert len(files(storage)) == 3


def test_a_published_name_stays_taken_when_its_template_is_removed(storage: DirectoryStorage) -> None:
    first = publish(storage, b"content", Version(7))
    (storage.workspace / first.file).unlink()
    with pytest.raises(ConflictError):
        publish(storage, b"other", Version(7))
    assert publish(storage, b"content", Version(7)) == first
    assert (storage.workspace / first.file).read_bytes() == b"content"


def test_a_template_without_a_record_gets_one_when_the_same_bytes_are_published(storage: DirectoryStorage) -> None:
    (storage.workspace / "debian-12-v7.tar.zst").write_bytes(b"content")
    assert storage.templates().newest(DEBIAN) is None
    with pytest.raises(ConflictError):
        publish(storage, b"other", Version(7))
    publish(storage, b"content", Version(7))
    found = storage.templates().newest(DEBIAN)
    assert found
    assert found.version == "v7"


def test_one_version_in_two_formats_is_a_conflict(storage: DirectoryStorage) -> None:
    (storage.workspace / "debian-12-v7.tar.gz").write_bytes(b"content")
    with pytest.raises(ConflictError, match=r"published as debian-12-v7\.tar\.gz"):
        publish(storage, b"content", Version(7))


def test_a_file_that_takes_the_name_between_claim_and_put_is_not_replaced(storage: DirectoryStorage) -> None:
    for content, wins in ((b"content", True), (b"foreign", False)):
        with Temporary(storage.workspace) as temporary, storage.claim(DEBIAN) as claim:
            (storage.workspace / f"{claim.stem}.tar.zst").write_bytes(content)
            temporary.write(b"content")
            if wins:
                assert put(storage, temporary, claim, draft(b"content")).version == "v1"
            else:
                with pytest.raises(ConflictError):
                    put(storage, temporary, claim, draft(b"content"))
    assert (storage.workspace / "debian-12-v2.tar.zst").read_bytes() == b"foreign"
    assert "debian-12-v2.json" not in files(storage)


def test_an_explicit_version_that_another_process_builds_is_a_conflict(storage: DirectoryStorage) -> None:
    with storage.claim(DEBIAN, Version(3)), pytest.raises(ConflictError, match="another process"):
        storage.claim(DEBIAN, Version(3))
    storage.claim(DEBIAN, Version(4)).burn()
    assert publish(storage, b"x", Version(4)).version == "v4"


def test_a_temporary_file_that_was_not_written_whole_is_not_published(storage: DirectoryStorage) -> None:
    with Temporary(storage.workspace) as temporary, storage.claim(DEBIAN) as claim:
        temporary.write(b"cont")
        with pytest.raises(StorageError, match="4 bytes were written, 7 expected"):
            put(storage, temporary, claim, draft(b"content"))
    assert files(storage) == []


def test_a_version_needs_a_place_in_the_pattern(storage: DirectoryStorage) -> None:
    with pytest.raises(UsageError, match=r"has no \{version\}"):
        storage.claim(naming("x", "{name}-{timestamp}"), Version(1))
    with pytest.raises(UsageError, match="256 characters"):
        storage.claim(naming("x" * 233))


def test_variants_count_for_themselves_and_a_time_in_the_name_does_not_hide_a_number(
    storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = []
    for variant, epoch in (("a", "0"), ("b", "0"), ("a", "86400")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        claims.append(storage.claim(naming("x", "{name}-{variant}-{date}-{version}", variant=variant)))
    assert [claim.stem for claim in claims] == ["x-a-19700101-v1", "x-b-19700101-v1", "x-a-19700102-v2"]


def test_newest_is_the_highest_version_and_only_with_its_record(storage: DirectoryStorage) -> None:
    assert storage.templates().newest(DEBIAN) is None
    for number in range(1, 12):
        publish(storage, b"%d" % number)
    newest = storage.templates().newest(DEBIAN)
    assert newest
    assert newest.version == "v11"
    (storage.workspace / "debian-12-v11.json").write_text("{}")
    with pytest.raises(StorageError, match=r"debian-12-v11\.json is not a valid record"):
        storage.templates().newest(DEBIAN)


def test_find_says_what_is_there(storage: DirectoryStorage) -> None:
    with pytest.raises(StorageError) as caught:
        find(storage, "debian-12")
    assert caught.value.hint == "the storage is empty"
    publish(storage, b"one")
    publish(storage, b"two")
    assert find(storage, "debian-12").version == "v2"
    assert find(storage, "debian-12", Version(1)).version == "v1"
    with pytest.raises(StorageError) as caught:
        find(storage, "debian-12", Version(3))
    assert caught.value.hint == "available: v1, v2"
    with pytest.raises(StorageError) as caught:
        find(storage, "debian")
    assert caught.value.hint == "available: debian-12"


def test_a_listing_shows_foreign_templates_and_damage(storage: DirectoryStorage) -> None:
    publish(storage, b"one")
    publish(storage, b"two")
    (storage.workspace / "debian-12-v2.tar.zst").write_bytes(b"grown larger")
    (storage.workspace / "ubuntu-24.04-standard_24.04-2_amd64.tar.zst").write_bytes(b"x")
    (storage.workspace / "notes.txt").write_bytes(b"x")
    (storage.workspace / "broken.tar.gz").symlink_to("nowhere")
    one, two, ubuntu = storage.templates().templates
    assert (one.version, one.problem) == ("v1", "")
    assert one.record
    assert (two.version, two.record) == ("v2", None)
    assert "12 bytes, its record has 3" in two.problem
    assert (ubuntu.name, ubuntu.version) == ("ubuntu-24.04-standard_24.04-2_amd64", "")
    assert ubuntu.template_id == "nfs1:vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst"
    with pytest.raises(StorageError, match="its record has 3"):
        find(storage, "debian-12", Version(2))


def test_a_plain_folder_takes_a_name_without_version_once(tmp_path: Path) -> None:
    folder = DirectoryStorage(tmp_path / "out")
    folder.prepare()
    name = naming("debian-12", "{name}-rootfs", for_storage=False)
    for content in (b"content", b"content", b"other"):
        with Temporary(folder.workspace) as temporary, folder.claim(name) as claim:
            temporary.write(content)
            if content == b"other":
                with pytest.raises(ConflictError):
                    put(folder, temporary, claim, draft(content))
            else:
                record = put(folder, temporary, claim, draft(content))
                assert (record.template_id, record.version, record.storage) == ("", "", "")
    assert files(folder) == ["debian-12-rootfs.json", "debian-12-rootfs.tar.zst", "debian-12-rootfs.tar.zst.sha256"]


def test_a_symlinked_storage_is_as_good(tmp_path: Path, storage: DirectoryStorage) -> None:
    (tmp_path / "link").symlink_to(storage.root)
    linked = DirectoryStorage(tmp_path / "link", "local")
    linked.prepare()
    publish(linked, b"x")
    assert find(storage, "debian-12").version == "v1"


def test_prepare_makes_only_the_last_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is not a directory") as caught:
        DirectoryStorage(tmp_path / "a" / "b", "local").prepare()
    assert "mkdir -p" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        DirectoryStorage(tmp_path / "file", "local").prepare()
    with pytest.raises(StorageError, match="no such storage directory"):
        DirectoryStorage(tmp_path / "gone", "local").templates()


def test_space_that_is_known_to_lack_is_said_before_the_work(storage: DirectoryStorage) -> None:
    with pytest.raises(StorageError, match=f"{2**60} are needed"):
        storage.prepare(size=2**60)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tiny", tmp_path], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_full_disk_says_so_and_leaves_nothing(tiny: Path) -> None:
    storage = DirectoryStorage(tiny / "storage", "local")
    storage.prepare()
    with pytest.raises(StorageError, match=r"disk is full after \d+ bytes, \d+ bytes are free"):
        publish(storage, b"x" * 2**21)
    assert files(storage) == []
    (storage.workspace / "ballast").write_bytes(b"x" * (2**20 - 8192))
    with pytest.raises(StorageError, match="disk is full"):
        publish(storage, b"x" * 8192)
    assert files(storage) == ["ballast"]


def test_a_read_only_filesystem_says_so(tiny: Path) -> None:
    storage = DirectoryStorage(tiny / "storage", "local")
    storage.prepare()
    subprocess.run(["mount", "-o", "remount,ro", tiny], check=True)
    with pytest.raises(StorageError, match="read-only"):
        storage.prepare()


WORKER = """
import hashlib, os, sys
from pathlib import Path
from lxcast.durable import Temporary
from lxcast.naming import naming
from lxcast.proxmox.upload_body import stamp
from lxcast.record import Origin, Record
from lxcast.storages.directory import DirectoryStorage
from lxcast.storages.storage import Artifact
storage = DirectoryStorage(Path(sys.argv[1]), "local")
rounds = int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
while rounds:
    rounds -= 1
    content = os.urandom(300_000)
    record = Record(name="x", size=len(content), unpacked_size=0, members=0, format="zst", compressor="zstd",
        sha256=hashlib.sha256(content).hexdigest(), diff_id="sha256:" + hashlib.sha256(content).hexdigest(),
        created="2026-11-21T10:33:00Z", lxcast="0", source=Origin("tar", ""))
    with Temporary(storage.workspace) as temporary, storage.claim(naming("x")) as claim:
        temporary.write(content)
        artifact = Artifact(path=temporary.path, suffix=".tar.zst", size=record.size, sha256=record.sha256,
            stamp=stamp(temporary.fileno()), record=record, temporary=True)
        print(storage.put(artifact, claim).record.version, flush=True)
"""


def worker(storage: DirectoryStorage, rounds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(storage.root), str(rounds)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout
    assert started.stdout.readline() == "ready\n"
    return started


def test_twenty_builders_at_once_get_twenty_versions(storage: DirectoryStorage) -> None:
    with ThreadPoolExecutor(4) as pool:
        builders = list(pool.map(lambda _: worker(storage, 1), range(20)))
    for builder in builders:
        assert builder.stdin
        builder.stdin.write("\n")
        builder.stdin.flush()
    versions = [builder.communicate()[0].strip() for builder in builders]
    assert sorted(versions, key=Version.parse) == [f"v{number}" for number in range(1, 21)]
    assert [entry.problem for entry in storage.templates().templates] == [""] * 20
    assert len(files(storage)) == 60


def test_a_kill_at_any_moment_leaves_whole_templates_with_their_records(storage: DirectoryStorage) -> None:
    chance = random.Random(4)
    for _ in range(12):
        with worker(storage, -1) as victim:
            assert victim.stdin
            victim.stdin.write("\n")
            victim.stdin.flush()
            assert victim.stdout
            for _ in range(chance.randrange(4)):
                victim.stdout.readline()
            time.sleep(chance.uniform(0.0, 0.02))
            victim.send_signal(signal.SIGKILL)
    for entry in storage.templates().templates:
        assert entry.record
        assert hashlib.sha256((storage.workspace / entry.file).read_bytes()).hexdigest() == entry.record.sha256
        assert (storage.workspace / f"{entry.file}.sha256").read_text() == entry.record.checksum()
    assert storage.templates().templates
    highest = max(Version.parse(file[2:].split(".")[0]) for file in files(storage) if file.startswith("x-"))
    storage.prepare()
    assert not [file for file in files(storage) if file.startswith(".")]
    with worker(storage, 1) as next_one:
        assert next_one.communicate("\n")[0].strip() == str(highest.next)


def test_a_record_never_says_more_than_its_storage(storage: DirectoryStorage) -> None:
    with Temporary(storage.workspace) as temporary, storage.claim(DEBIAN) as claim:
        temporary.write(b"x")
        told = replace(draft(b"x"), version="v99", file="x", template_id="x", storage="x")
        assert put(storage, temporary, claim, told).template_id == "nfs1:vztmpl/debian-12-v1.tar.zst"
    assert json.loads((storage.workspace / "debian-12-v1.json").read_text())["version"] == "v1"


def test_variants_of_one_name_are_chosen_by_name_and_never_silently(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path, "local")
    for number, variant in enumerate(("minimal", "full", ""), 1):
        record = replace(publish_by_hand(tmp_path, "web", number), variant=variant)
        (storage.workspace / f"web-v{number}.json").write_text(record.to_json())
    with pytest.raises(StorageError, match=r"several variants: '' \(without a variant\), full, minimal") as caught:
        find(storage, "web")
    assert "--variant full" in caught.value.hint
    assert find(storage, "web", variant="full").version == "v2"
    assert find(storage, "web", variant="").version == "v3"
    assert find(storage, "web", Version(1)).variant == "minimal"
    with pytest.raises(StorageError, match="no variant 'small'") as caught:
        find(storage, "web", variant="small")
    assert "minimal" in caught.value.hint
