"""What a prune would remove, for every reason to keep."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from lxcast.errors import PinError, StorageError, UsageError
from lxcast.jobs.prune import Pins, apply, parse_age, plan, plan_removal
from lxcast.progress import Progress
from lxcast.proxmox.usage import Use
from lxcast.references.scan import Found
from lxcast.settings import storage_options
from lxcast.storages.open import open_storage
from lxcast.storages.storage import Listing, StoredTemplate
from tests.published import pin, publish

DAY = 86400
NONE = Pins()


def entry(file: str, days: float = 0) -> StoredTemplate:
    stem = file.removesuffix(".tar.zst")
    name, _, version = stem.rpartition("-")
    numbered = version.startswith("v")
    return StoredTemplate(
        file,
        f"nfs:vztmpl/{file}",
        name if numbered else stem,
        version if numbered else "",
        10,
        None,
        ctime=int(time.time() - days * DAY) - 1,
    )


def stock(*entries: StoredTemplate, **uses: Use) -> Listing:
    made = {f"{name.replace('_', '-')}.tar.zst": (use,) for name, use in uses.items()}
    templates = [replace(each, containers=made.get(each.file, ())) for each in entries]
    return Listing("nfs", "proxmox:pve/nfs", templates, ("pve",))


def gone(found: Listing, pins: Pins = NONE, *names: str, keep: int | None = None, days: int | None = None) -> list[str]:
    decisions = plan(found, pins, names=names, keep=keep, older_than=None if days is None else days * DAY)
    assert all(each.reasons for each in decisions)
    return [each.template.file.removesuffix(".tar.zst") for each in decisions if each.removes]


def why(found: Listing, file: str, pins: Pins = NONE, keep: int = 1) -> str:
    return next("; ".join(each.reasons) for each in plan(found, pins, keep=keep) if each.template.file.startswith(file))


MANY = stock(*(entry(f"web-v{number}.tar.zst", days=10 * (11 - number)) for number in range(1, 12)))


def test_the_newest_stay_by_number_and_not_by_name() -> None:
    assert gone(MANY, keep=3) == [f"web-v{number}" for number in range(1, 9)]
    assert why(MANY, "web-v11") == "the newest"
    assert why(MANY, "web-v9", keep=3) == "one of the 3 newest"
    assert why(MANY, "web-v1.", keep=3) == "number 11 from the newest, 100 d old"


def test_what_is_young_stays() -> None:
    assert gone(MANY, days=85) == ["web-v1", "web-v2"]
    assert gone(MANY, keep=10, days=85) == ["web-v1"]
    assert gone(MANY, keep=1, days=1000) == []


def test_the_newest_stays_however_old() -> None:
    assert gone(stock(entry("web-v1.tar.zst", 999), entry("web-v2.tar.zst", 999)), days=1) == ["web-v1"]


def test_a_name_without_version_stays() -> None:
    found = stock(entry("alpine-3.20_amd64.tar.zst", 999))
    assert gone(found, days=1) == []
    assert why(found, "alpine") == "its name has no version"


def test_every_name_is_counted_by_itself() -> None:
    found = stock(*(entry(f"{name}-v{number}.tar.zst") for name in ("web", "web-slim", "db") for number in (1, 2)))
    assert gone(found, keep=1) == ["web-v1", "web-slim-v1", "db-v1"]
    assert gone(found, NONE, "db", keep=1) == ["db-v1"]


def test_what_a_container_was_made_from_stays() -> None:
    found = stock(*MANY.templates, web_v1=Use(101, "pve2"), web_v2=Use(102, "pve", made=False))
    assert gone(found, keep=9) == []
    assert why(found, "web-v1.") == "container 101 on pve2 was created from it"
    assert why(found, "web-v2") == "container 102 on pve is being created from it"


def test_what_is_pinned_stays_and_so_does_what_a_rollback_would_need(tmp_path: Path) -> None:
    file = tmp_path / "env" / "templates.auto.tfvars.json"
    file.parent.mkdir()
    for number in (3, 4):
        pin(file, publish(tmp_path / "nfs", "web", number))
    (file.parent / "main.tf").write_text('locals {\n  a = "nfs:vztmpl/web-v6.tar.zst"\n  b = "web-v5.tar.zst"\n}\n')
    pins = Pins.read([tmp_path / "env"])
    assert gone(MANY, pins, keep=4) == ["web-v1", "web-v2", "web-v7"]
    assert why(MANY, "web-v4", pins) == f"pinned by {file}: lxc_templates.web"
    assert why(MANY, "web-v3", pins) == f"pinned by {file}: lxc_templates.web.previous"
    assert why(MANY, "web-v6", pins) == f"pinned by {file.parent / 'main.tf'}: local.a"
    assert gone(MANY, Pins.read([file]), keep=6) == ["web-v1", "web-v2", "web-v5"]


def test_a_pin_that_cannot_be_read_is_no_permission(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tfvars.json"
    broken.write_text("{")
    with pytest.raises(PinError, match=r"broken.tfvars.json: invalid JSON.*\n.*missing: No such file"):
        Pins.read([broken, tmp_path / "missing"])


def test_what_is_said_must_say_something() -> None:
    with pytest.raises(UsageError, match="no rule for what to keep"):
        gone(MANY)
    with pytest.raises(UsageError, match="the newest version of a name is always kept"):
        gone(MANY, keep=0)
    with pytest.raises(StorageError, match="template db not found"):
        gone(MANY, NONE, "db", keep=1)
    assert [parse_age(text) for text in ("36h", "90d", "2w")] == [36 * 3600, 90 * DAY, 14 * DAY]
    for text in ("90", "d", "-1d", "1.5d", "", "9 d"):
        with pytest.raises(UsageError, match="invalid age"):
            parse_age(text)


def test_a_folder_is_pruned_and_its_names_stay_taken(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        publish(tmp_path, "web", number)
    folder = tmp_path / "template/cache"
    (folder / "web-v1.json").unlink()
    storage = open_storage(storage_options(f"nfs={tmp_path}"))
    found = storage.templates()
    decisions = plan(found, NONE, keep=1)
    assert [each.action for each in decisions] == ["remove", "remove", "keep"]
    assert len(list(folder.glob("*.tar.zst"))) == 3
    assert apply(decisions, storage, Progress()) == decisions
    assert sorted(path.name for path in folder.iterdir()) == [
        "web-v1.json",
        "web-v2.json",
        "web-v3.json",
        "web-v3.tar.zst",
    ]
    assert (folder / "web-v1.json").read_bytes() == b""


def test_single_templates_are_named_by_id_or_file(tmp_path: Path) -> None:
    found = stock(entry("web-v1.tar.zst"), entry("web-v2.tar.zst"), web_v2=Use(7, "pve"))
    chosen = plan_removal(found, NONE, ["nfs:vztmpl/web-v1.tar.zst", "web-v2.tar.zst", "web-v1.tar.zst"])
    assert [(each.template.file, each.reasons[0]) for each in chosen] == [
        ("web-v1.tar.zst", "named"),
        ("web-v2.tar.zst", "named"),
    ]
    assert chosen[1].reasons[1] == "container 7 on pve was created from it"
    with pytest.raises(StorageError, match=r"web-v3\.tar\.zst, x not found"):
        plan_removal(found, NONE, ["web-v3.tar.zst", "x"])
    with pytest.raises(PinError, match=r"web-v1\.tar\.zst is pinned by a\.tf: local\.a"):
        plan_removal(
            found, Pins([Found(Path("a.tf"), 1, "local.a", "web-v1", "web-v1")]), ["web-v1.tar.zst", "web-v2.tar.zst"]
        )


def test_what_cannot_be_removed_does_not_stop_the_others(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        publish(tmp_path, "web", number)
    folder = tmp_path / "template/cache"
    storage = open_storage(storage_options(f"nfs={tmp_path}"))
    found = storage.templates()
    (folder / "web-v1.tar.zst").unlink()
    (folder / "web-v1.tar.zst").mkdir()  # unlink(2) refuses
    first, second, third = apply(plan(found, NONE, keep=1), storage, Progress())
    assert (first.action, second.action, third.action) == ("failed", "remove", "keep")
    assert "web-v1.tar.zst" in str(first.error)
    assert not (folder / "web-v2.tar.zst").exists()
