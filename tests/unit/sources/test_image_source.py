"""Images at rest: what their layers are together, and what is wrong with those that cannot be read."""

import gzip
import io
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings

from lxcast.errors import ArchiveError, SourceError, UsageError
from lxcast.sources import open_source
from lxcast.tar.member import DIR, LNK, SYM, Member
from lxcast.tar.reader import Limits, Reader
from lxcast.tar.writer import Writer
from tests.image_files import Layout, Line, config, digest, docker_archive, layer, layout, tarred
from tests.random_layers import Stack, stacks


def read(source: str | Path, platform: str = "") -> list[Member]:
    with open_source(str(source), platform).members() as members:
        return [member.held() for member in members if member.path]


def listing(members: Iterable[Member]) -> dict[str, str]:
    """Return path -> what is there; parents and hard links' targets must come first, and no path twice."""
    found: dict[str, str] = {}
    for member in members:
        path = member.path.decode()
        parent = path.rpartition("/")[0]
        assert path not in found
        assert not parent or found[parent].startswith("dir ")
        if member.type == DIR:
            found[path] = f"dir {member.mode:o}"
        elif member.type == SYM:
            found[path] = f"-> {member.link.decode()}"
        elif member.type == LNK:
            found[path] = found[member.link.decode()]
        else:
            assert isinstance(member.body, bytes)
            found[path] = member.body.decode()
    return found


def merged(folder: Path, *layers: Iterable[Line]) -> dict[str, str]:
    layout(folder / "image", layers)
    return listing(read(folder / "image"))


@settings(deadline=None, max_examples=100)
@given(stacks())
def test_layers_are_the_filesystem_that_they_were_made_from(stack: Stack) -> None:
    with tempfile.TemporaryDirectory() as folder:
        layout(Path(folder) / "image", stack.layers)
        members = read(Path(folder) / "image")
    texts = {"dir": "dir {:o}", "file": "{}", "symlink": "-> {}"}
    assert listing(members) == {path: texts[node[0]].format(node[1]) for path, node in stack.tree.items()}
    # Names of one inode are hard links of each other, and of nothing else.
    leaders = {member.path.decode(): (member.link or member.path).decode() for member in members if member.type == LNK}
    inodes: dict[object, set[str]] = {}
    for path, node in stack.tree.items():
        if node[0] != "dir":
            inodes.setdefault(node, set()).add(path)
    assert {frozenset(group) for group in inodes.values() if len(group) > 1} == {
        frozenset({leader, *(path for path, other in leaders.items() if other == leader)})
        for leader in leaders.values()
    }


def test_a_whiteout_hides_lower_layers_alone_wherever_it_stands(tmp_path: Path) -> None:
    low: list[Line] = [("d", "dir", 0o755), ("d/old", "file", b"1"), ("f", "file", b"1")]
    high: list[Line] = [
        ("d", "dir", 0o700), ("d/new", "file", b"2"), ("d/.wh..wh..opq", "file", b""),
        ("f", "file", b"2"), (".wh.f", "file", b""), (".wh..wh.plnk", "dir", 0o700), (".wh..wh.plnk/1.2", "file", b""),
    ]  # fmt: skip
    assert merged(tmp_path, low, high) == {"d": "dir 700", "d/new": "2", "f": "2"}


def test_overlayfs_own_whiteouts_count_too(tmp_path: Path) -> None:
    assert merged(tmp_path, [("f", "file", b"1"), ("g", "file", b"g")], [("f", "dev", (0, 0))]) == {"g": "g"}


def test_a_name_leads_through_the_links_of_lower_layers(tmp_path: Path) -> None:
    low: list[Line] = [
        ("usr", "dir", 0o755), ("usr/bin", "dir", 0o755), ("bin", "symlink", "usr/bin"), ("usr/bin/x", "file", b"x"),
        ("up", "symlink", "../../usr/./lib/../bin"), ("usr/lib", "dir", 0o755),
    ]  # fmt: skip
    high: list[Line] = [("bin/tool", "file", b"tool"), ("up/two", "link", "bin/tool"), ("bin/.wh.x", "file", b"")]
    found = merged(tmp_path, low, high)
    assert found["usr/bin/tool"] == found["usr/bin/two"] == "tool"
    assert found["bin"] == "-> usr/bin"
    assert "usr/bin/x" not in found


def test_the_data_goes_on_under_a_name_that_stays_even_in_a_later_folder(tmp_path: Path) -> None:
    found = merged(
        tmp_path,
        [("a", "file", b"data"), ("b", "link", "a")],
        [("d", "dir", 0o711), ("d/c", "link", "b"), (".wh.a", "file", b"")],
        [(".wh.b", "file", b"")],
    )
    assert found == {"d": "dir 711", "d/c": "data"}


def test_a_name_that_stays_is_the_one_that_is_written(tmp_path: Path) -> None:
    layout(tmp_path / "image", [[("./a", "file", b"data"), ("./b", "link", "./a")], [("./.wh.a", "file", b"")]])
    out = io.BytesIO()
    writer = Writer(out.write)
    with open_source(str(tmp_path / "image")).members() as members:
        members.before_refill = writer.flush
        for member in members:
            writer.add(member)
    writer.finish()
    out.seek(0)
    assert listing(member.held() for member in Reader(out, "written") if member.path) == {"b": "data"}


def test_a_folder_without_an_entry_is_made_and_a_later_entry_counts(tmp_path: Path) -> None:
    assert merged(tmp_path, [("d/e/f", "file", b"1")], [("d/e", "dir", 0o700)]) == {
        "d": "dir 755",
        "d/e": "dir 700",
        "d/e/f": "1",
    }


def test_the_last_of_a_path_in_one_layer_counts(tmp_path: Path) -> None:
    assert merged(tmp_path, [("f", "file", b"1"), ("f", "file", b"2"), ("f/", "dir", 0o700)]) == {"f": "dir 700"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("b", "link", "gone"), "layer 2: /b is a hard link to /gone, which does not exist"),
        (("b", "link", "d"), "layer 2: /b is a hard link to /d, which is a directory"),
        (("f/below", "file", b""), "layer 2: /f is below a file"),
        (("loop/x", "file", b""), "layer 2: /loop leads through too many links"),
        (("../x", "file", b""), "contains '..'"),
    ],
)
def test_what_no_filesystem_can_be_is_refused(tmp_path: Path, line: Line, said: str) -> None:
    low: list[Line] = [("d", "dir", 0o755), ("f", "file", b""), ("loop", "symlink", "loop")]
    with pytest.raises(ArchiveError) as caught:
        merged(tmp_path, low, [line])
    assert said in caught.value.message


def test_attributes_survive(tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    made.add(made.manifest([layer([("f", "file", b"1")], {"SCHILY.xattr.security.capability": "\x01\x02"})]))
    (member,) = read(made.folder)
    assert member.xattrs == {b"security.capability": b"\x01\x02"}


LOW: list[Line] = [("a", "file", b"1" * 3000), ("b", "file", b"2")]
HIGH: list[Line] = [(".wh.b", "file", b""), ("c", "link", "a")]


def test_every_form_of_an_image_gives_the_same_members_twice(tmp_path: Path) -> None:
    layers = [layer(LOW), layer(HIGH), layer([])]
    folders = [layout(tmp_path / kind, (LOW, HIGH, []), kind).folder for kind in ("gzip", "zstd", "")]
    archives = [
        tarred(tmp_path / "gzip", tmp_path / "layout.tar"),
        tarred(tmp_path / "zstd", tmp_path / "layout.tar.xz", "w:xz"),
        docker_archive(tmp_path / "saved.tar", [*layers, layers[2]]),
    ]
    again = tmp_path / "saved.tar.gz"
    again.write_bytes(gzip.compress(archives[2].read_bytes()))
    for path in [*folders, *archives, again]:
        source = open_source(str(path))
        for _ in range(2):
            with source.members() as members:
                assert listing(each.held() for each in members if each.path) == {"a": "1" * 3000, "c": "1" * 3000}
        assert source.rereadable
        assert source.origin.digest.startswith("sha256:")
        assert source.origin.kind == (
            "oci" if path.is_dir() else "docker-archive" if "saved" in path.name else "oci-archive"
        )


def test_an_image_is_chosen_by_name_digest_or_platform(tmp_path: Path) -> None:
    made = Layout(tmp_path / "a:b")
    for name in ("one", "two"):
        made.add(made.manifest([layer([(name, "file", b"")])]), name)
    with pytest.raises(SourceError, match="contains several images") as caught:
        open_source(f"oci:{made.folder}")
    choices = caught.value.hint.removeprefix("choose one: ").split(", ")
    assert [list(listing(read(each))) for each in choices] == [["one"], ["two"]]
    assert list(listing(read(f"oci:{made.folder}:two"))) == ["two"]
    assert list(listing(read(f"oci:{made.folder}:{made.manifests[0]['digest']}"))) == ["one"]
    with pytest.raises(SourceError, match="contains no image 'three'"):
        open_source(f"oci:{made.folder}:three")


def test_a_manifest_list_has_the_platform_or_says_which_it_has(tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    descriptors = []
    for architecture in ("ppc64le", "s390x"):
        one = made.manifest([layer([(architecture, "file", b"")])], architecture=architecture)
        descriptors.append({**one, "platform": {"os": "linux", "architecture": architecture}})
    attestation = made.blob(b"{}", "application/vnd.oci.image.manifest.v1+json")
    attestation["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
    index = {"schemaVersion": 2, "manifests": [*descriptors, attestation]}
    made.add(made.blob(json.dumps(index).encode(), "application/vnd.oci.image.index.v1+json"), "x")
    assert list(listing(read(made.folder, "s390x"))) == ["s390x"]
    assert list(listing(read(made.folder, "linux/ppc64le"))) == ["ppc64le"]
    with pytest.raises(SourceError, match=r"contains no image for .*, only for linux/ppc64le, linux/s390x"):
        open_source(str(made.folder))
    with pytest.raises(UsageError, match="invalid platform"):
        open_source(str(made.folder), "linux/")


def test_an_only_image_is_read_for_whatever_it_is_unless_a_platform_is_asked_for(tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    made.add(made.manifest([layer(LOW)], architecture="s390x"))
    assert list(listing(read(made.folder))) == ["a", "b"]
    with pytest.raises(SourceError, match="no image for linux/arm64, only for linux/s390x"):
        open_source(str(made.folder), "arm64")


def test_what_an_image_says_about_running_it_is_kept(tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    said = {"Env": ["A=b"], "Cmd": ["x"], "User": "1:2", "Volumes": {"/data": {}}, "StopSignal": "SIGRTMIN+3"}
    history = [{"created_by": "RUN x"}, {"empty_layer": True}]
    made.add(made.manifest([layer(LOW)], config=said, history=history, created="2026-01-01T00:00:00Z"))
    found = open_source(str(made.folder)).config
    assert found
    assert (found.env, found.cmd, found.user, found.volumes) == (("A=b",), ("x",), "1:2", ("/data",))
    assert (found.architecture, found.stop_signal, found.history) == ("amd64", "SIGRTMIN+3", ("RUN x", ""))


def broken(made: Layout, path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "short":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


@pytest.mark.parametrize("what", ["layer", "config", "manifest"])
@pytest.mark.parametrize("how", ["missing", "short", "flipped"])
@pytest.mark.parametrize("kind", ["gzip", ""])
def test_a_damaged_blob_is_named(tmp_path: Path, what: str, how: str, kind: str) -> None:
    made = layout(tmp_path / "image", (LOW, HIGH), kind)
    manifest = json.loads(made.path(made.manifests[0]["digest"]).read_bytes())
    descriptor = {"layer": manifest["layers"][1], "config": manifest["config"], "manifest": made.manifests[0]}[what]
    broken(made, made.path(descriptor["digest"]), how)
    with pytest.raises(ArchiveError) as caught:
        read(made.folder)
    said = {"missing": "is missing", "short": "bytes", "flipped": "is damaged: its digest is sha256:"}[how]
    assert said in caught.value.message
    assert descriptor["digest"].partition(":")[2] in caught.value.message


def test_content_that_does_not_match_its_diff_id_is_refused(tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    made.add(made.manifest([layer(LOW)], "gzip", config_data=config([layer(HIGH)])))
    with pytest.raises(ArchiveError, match="layer 1, uncompressed, is damaged") as caught:
        read(made.folder)
    assert digest(layer(HIGH)) in caught.value.message
    saved = docker_archive(tmp_path / "saved.tar", [layer(LOW)])
    saved.write_bytes(saved.read_bytes().replace(b"1" * 3000, b"1" * 2999 + b"0"))
    with pytest.raises(ArchiveError, match="layer 1, uncompressed, is damaged"):
        read(saved)


@pytest.mark.parametrize(
    ("media_type", "said"),
    [
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "is encrypted"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "is foreign"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", "is foreign"),
        ("application/x-other", "has the unsupported media type application/x-other"),
    ],
)
def test_layers_that_cannot_be_read_are_told_at_once(tmp_path: Path, media_type: str, said: str) -> None:
    made = Layout(tmp_path / "image")
    made.add(made.manifest([layer(LOW), layer(HIGH)], media_type=media_type))
    with pytest.raises(SourceError) as caught:
        open_source(str(made.folder))
    assert caught.value.message.count(said) == 2
    assert not isinstance(caught.value, ArchiveError)


def test_what_is_no_image_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or directory"):
        open_source(f"oci:{tmp_path}/gone:x")
    (tmp_path / "empty").mkdir()
    for prefix, said in (("oci", "not an OCI image layout"), ("docker-archive", "manifest.json is missing")):
        with pytest.raises(SourceError, match=said):
            open_source(f"{prefix}:{tmp_path}/empty")
    made = Layout(tmp_path / "chart")
    made.add(made.manifest([], config_data=b"{}"))
    with pytest.raises(SourceError, match="is not a container image"):
        open_source(str(made.folder))
    (made.folder / "index.json").write_text("[")
    with pytest.raises(ArchiveError, match=r"index\.json is not valid JSON"):
        open_source(str(made.folder))


@pytest.mark.parametrize("name", ["index.json", "oci-layout", "blob"])
def test_a_link_that_leads_to_itself_is_no_file(tmp_path: Path, name: str) -> None:
    made = layout(tmp_path / "image", [LOW])
    path = made.path(made.manifests[0]["digest"]) if name == "blob" else made.folder / name
    path.unlink()
    path.symlink_to(path.name)
    with pytest.raises(SourceError, match=r"is missing"):
        open_source(f"oci:{made.folder}")


def test_a_docker_archive_with_several_images_asks_which(tmp_path: Path) -> None:
    saved = docker_archive(tmp_path / "saved.tar", [layer(LOW)], ["one:latest", "two:v1"])
    assert list(listing(read(f"docker-archive:{saved}:one"))) == ["a", "b"]
    assert list(listing(read(f"docker-archive:{saved}:two:v1"))) == ["a", "b"]
    with pytest.raises(SourceError, match="contains no image 'three'") as caught:
        open_source(f"docker-archive:{saved}:three")
    assert caught.value.hint == f"choose one: docker-archive:{saved}:one:latest, docker-archive:{saved}:two:v1"


def test_limits_hold_for_all_layers_together(tmp_path: Path) -> None:
    source = open_source(str(layout(tmp_path / "image", (LOW, HIGH)).folder))
    for limits, said in ((Limits(members=3), "4 members"), (Limits(size=3000), "member 2")):
        with pytest.raises(ArchiveError, match=said), source.members(limits):
            pass
