"""Files that lxcast reads back and that something else has written to: each is told of by its name."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcast.cli.app import run
from lxcast.errors import LxcastError
from terraform_ext.answer import answer
from terraform_ext.query import parse
from tests.json_shapes import JSON, mutated
from tests.published import publish

PINS = "templates.auto.tfvars.json"
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two versions in its storage, and a pin file that names the newer and held the older."""
    folder = tmp_path_factory.mktemp("home")
    for number in (1, 2):
        publish(folder / "storage", "web", number)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        assert run(["pin", "write", "web", "--version", "v1"]) == run(["pin", "write", "web"]) == 0
        yield folder


def commands(capsys: pytest.CaptureFixture[str], *lines: str) -> None:
    for line in lines:
        code = run(line.split())
        said = capsys.readouterr().err
        assert "bug in lxcast" not in said, line
        assert code in (0, 6, 7, 11), said


def asked(**query: str) -> None:
    with suppress(LxcastError):
        answer(parse(json.dumps({"name": "web", **query}).encode()))


@QUICK
@given(data=st.data())
def test_a_damaged_record_is_told(home: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject) -> None:
    record, pins = home / "storage/template/cache/web-v2.json", home / PINS
    before = record.read_bytes(), pins.read_bytes()
    record.write_text(json.dumps(data.draw(st.one_of(JSON, mutated(json.loads(before[0]))))))
    try:
        commands(capsys, "list", "list --json", "prune --keep 1", "pin list .", "rollback web --dry-run")
        commands(capsys, "promote web --version v2", "pin list .", "rollback web")
        asked(storage="./storage")
        asked(storage="./storage", version="latest")
    finally:
        record.write_bytes(before[0])
        pins.write_bytes(before[1])


@QUICK
@given(data=st.data())
def test_a_damaged_pin_file_is_told(home: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject) -> None:
    pins = home / PINS
    before = pins.read_bytes()
    pins.write_text(json.dumps(data.draw(st.one_of(JSON, mutated(json.loads(before))))))
    try:
        commands(capsys, "pin list .", f"prune --keep 1 --pins {PINS}", "rollback web --dry-run", "promote web")
        asked()
    finally:
        pins.write_bytes(before)


def test_what_a_record_suggests_and_no_pin_can_hold_is_told_before_the_pin_is_written(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, pins = home / "storage/template/cache/web-v2.json", home / PINS
    before = record.read_bytes(), pins.read_bytes()
    record.write_text(json.dumps({**json.loads(before[0]), "hints": {"disk_gb": "four"}}))
    try:
        assert run(["pin", "write", "web", "--version", "v2"]) == 6
        assert 'web-v2.tar.zst: the record: hints: invalid disk_gb "four"' in capsys.readouterr().err
        assert pins.read_bytes() == before[1]
    finally:
        record.write_bytes(before[0])
