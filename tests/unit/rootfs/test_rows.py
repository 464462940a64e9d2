from dataclasses import dataclass

import pytest

from lxcast.errors import UsageError
from lxcast.rootfs import rows


@dataclass(frozen=True)
class Row:
    id: str
    default: bool


OPERATIONS = (Row("logs", True), Row("docs", False))
FITS = (Row("hosts", True), Row("release", False))


def chosen(enable: tuple[str, ...] = (), disable: tuple[str, ...] = ()) -> list[str]:
    return [row.id for table in rows.select(OPERATIONS, FITS, enable=enable, disable=disable) for row in table]


def test_defaults_work_unasked_and_the_user_decides_the_rest() -> None:
    assert chosen() == ["logs", "hosts"]
    assert chosen(enable=("release", "docs")) == ["logs", "docs", "hosts", "release"]
    assert chosen(disable=("hosts", "logs")) == []


def test_every_wrong_row_is_named_at_once_with_its_neighbour() -> None:
    with pytest.raises(UsageError) as error:
        chosen(enable=("log", "hosts"), disable=("hosts", "xyzzy"))
    assert "'log' (did you mean logs?)" in error.value.message
    assert "'xyzzy'" in error.value.message
    assert "'hosts' is both enabled and disabled" in error.value.message
