"""A storage of a kind that lxcast does not know works in every job, by what it implements and its entry in SCHEMES."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lxcast.errors import ConflictError
from lxcast.identifiers import stem_of
from lxcast.jobs.build import Built, build
from lxcast.jobs.promote import promote, rollback
from lxcast.jobs.prune import Pins, apply, plan
from lxcast.jobs.publish import publish
from lxcast.jobs.resolve import find_template
from lxcast.model import Version
from lxcast.naming import Naming, parts_of
from lxcast.progress import Progress
from lxcast.settings import CheckOptions, StorageOptions, make_build_options, make_settings, select, storage_options
from lxcast.storages.open import SCHEMES, open_storage
from lxcast.storages.storage import Artifact, Claim, Listing, Outcome, Publication, Storage, StoredTemplate
from tests.unit.cli.proxmox import make_template
from tests.unit.cli.running import archive
from tests.unit.rootfs.filesystems import minimal_debian


class MemoryStorage(Storage):
    """Templates in a dictionary."""

    def __init__(self, workspace: Path) -> None:
        self.id, self.location, self.workspace = "memory", "memory:", workspace
        self.artifacts: dict[str, tuple[Artifact, bytes]] = {}

    def templates(self, *, usage: bool = False) -> Listing:
        found = []
        for file, (artifact, _) in self.artifacts.items():
            name, version = parts_of(stem_of(file))
            found.append(StoredTemplate(file, f"memory:vztmpl/{file}", name, version, artifact.size, artifact.record))
        return Listing(self.id, self.location, found)

    def next_version(self, naming: Naming) -> Version:
        matches = [naming.series().fullmatch(stem_of(file)) for file in self.artifacts]
        return Version(max((int(match["version"][1:]) for match in matches if match), default=0) + 1)

    def claim(self, naming: Naming, version: Version | None = None) -> Claim:
        version = version or self.next_version(naming)
        return Claim(naming.render(version), version)

    def put(self, artifact: Artifact, claim: Claim, progress: Progress) -> Publication:
        file = claim.stem + artifact.suffix
        volid, version = f"memory:vztmpl/{file}", str(claim.version or "")
        if artifact.record:
            record = replace(artifact.record, version=version, file=file, template_id=volid, storage=self.id)
            artifact = replace(artifact, record=record)
        old = self.artifacts.get(file)
        if old and old[0].sha256 != artifact.sha256:
            raise ConflictError(f"{file} has other bytes")
        self.artifacts.setdefault(file, (artifact, artifact.path.read_bytes()))
        outcomes = (Outcome("", "present" if old else "uploaded", verified=True),)
        return Publication(file, volid, artifact.size, artifact.sha256, artifact.record, outcomes)

    def sidecars(self, template: StoredTemplate) -> Mapping[str, bytes]:
        return self.artifacts[template.file][0].sidecars

    def add_sidecars(self, template: StoredTemplate, sidecars: Mapping[str, bytes]) -> None:
        artifact, content = self.artifacts[template.file]
        self.artifacts[template.file] = replace(artifact, sidecars={**artifact.sidecars, **sidecars}), content

    def remove(self, template: StoredTemplate) -> None:
        del self.artifacts[template.file]


@pytest.fixture
def options(tmp_path: Path) -> Iterator[StorageOptions]:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    memory = MemoryStorage(workspace)
    SCHEMES["memory"] = lambda _: memory
    yield storage_options("memory:")
    del SCHEMES["memory"]


def build_web(tmp_path: Path) -> Built:
    source = tmp_path / "rootfs.tar"
    source.write_bytes(archive(minimal_debian()))
    return build(str(source), make_build_options("web", storage="memory:"), Progress())


def test_a_third_storage_needs_no_change_in_any_job(options: StorageOptions, tmp_path: Path) -> None:
    built = [build_web(tmp_path) for _ in range(3)]
    assert [each.volid for each in built] == [f"memory:vztmpl/web-v{number}.tar.zst" for number in (1, 2, 3)]
    assert built[0].path is None

    file = make_template(tmp_path / "other")
    checks = select(CheckOptions, make_settings({}))
    published = publish(file, open_storage(options), checks, Progress())
    assert (published.template_id, published.unchanged) == ("memory:vztmpl/debian-12-v1.tar.zst", False)
    assert publish(file, open_storage(options), checks, Progress()).unchanged

    files = [each.file for each in open_storage(options).templates().templates]
    assert files == ["web-v1.tar.zst", "web-v2.tar.zst", "web-v3.tar.zst", "debian-12-v1.tar.zst"]
    assert find_template("web:v2", open_storage(options)).file == "web-v2.tar.zst"

    pin = tmp_path / "templates.auto.tfvars.json"
    for version in ("v2", ""):
        move = promote("web", version, str(pin), options)
    assert move.new == "memory:vztmpl/web-v3.tar.zst"
    assert rollback("web", pin, options).new == "memory:vztmpl/web-v2.tar.zst"

    storage = open_storage(options)
    decisions = apply(plan(storage.templates(), Pins.read([pin]), keep=1), storage, Progress())
    assert [each.action for each in decisions] == ["remove", "keep", "keep", "keep"]
    assert [each.file for each in storage.templates().templates] == files[1:]


def test_the_storage_is_implemented_in_fewer_than_60_lines() -> None:
    lines = Path(__file__).read_text().split("class MemoryStorage")[1].split("@pytest.fixture")[0].splitlines()
    assert len([line for line in lines if line.strip()]) < 60
