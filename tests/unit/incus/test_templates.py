"""Templates that the image alone decides are rendered; the others are left out, each with the reason."""

from typing import Any

import pytest

from lxcast.incus.metadata import Metadata
from lxcast.incus.templates import render

PROPERTIES = {"os": "debian", "release": "bookworm", "big": "x" * 5000}


def rendered(
    text: str, target: str = "/etc/motd", when: Any = ("create",), own: dict[str, Any] | None = None
) -> tuple[dict[bytes, bytes], list[str]]:
    row = {"when": list(when), "template": "x.tpl", "properties": own or {}}
    values = {"properties": PROPERTIES, "templates": {target: row}}
    files, left_out = render(Metadata(values, files={"templates/x.tpl": text.encode()}))
    return {each.path: each.content for each in files}, left_out


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("plain\n", "plain\n"),
        ("{{ image.os }} {{image.release}}", "debian bookworm"),
        ("{{ properties.default }}", "own"),
        ('{{ properties["default"] }}', "own"),
        ("{{ image.unknown }}", ""),
        ("{{ path }} {{ trigger }}", "/etc/motd create"),
        ('{{ config_get("user.user-data", properties.default) }}', "own"),
        ('{{ config_get("user.user-data", "#cloud-config") }}', "#cloud-config"),
        ("{# a note #}a{{ 'b' }}", "ab"),
    ],
)
def test_what_the_image_tells_is_rendered(text: str, made: str) -> None:
    assert rendered(text, own={"default": "own"}) == ({b"etc/motd": made.encode()}, [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("instance-id: {{ container.name }}", "container.name"),
        ("{{ instance.name }}", "instance.name"),
        ("{% if image.os %}x{% endif %}", "conditions or loops"),
        ("{{ image.os|upper }}", "only Incus knows"),
        ("{{ image.big }}", "longer than 4096"),
        ("x" * 70_000, "70000 bytes"),
    ],
)
def test_what_only_a_container_decides_is_left_out_and_told(text: str, why: str) -> None:
    files, (said,) = rendered(text)
    assert files == {}
    assert said.startswith("the template of '/etc/motd' was left out")
    assert why in said


@pytest.mark.parametrize(
    "target", ["/etc/hostname", "etc/hosts", "/etc/./resolv.conf", "/etc/netplan/10-lxc.yaml", "/etc/machine-id"]
)
def test_what_proxmox_writes_is_left_to_proxmox(target: str) -> None:
    assert rendered("x", target) == ({}, [])


def test_only_a_template_of_a_new_container_counts() -> None:
    assert rendered("x", when=["copy"]) == ({}, [])
    assert rendered("x", when=["start"])[0] == {b"etc/motd": b"x"}


@pytest.mark.parametrize("target", ["/", "/../..", "/etc/\0x", "/etc/*", "/etc/[a"])
def test_a_target_that_is_no_path_is_told(target: str) -> None:
    files, left_out = rendered("x", target)
    assert files == {}
    assert len(left_out) == 1


def test_a_target_cannot_leave_the_root() -> None:
    assert list(rendered("x", "/../../etc/motd")[0]) == [b"etc/motd"]


def test_malformed_tables_are_told_and_cost_little() -> None:
    malformed: list[Any] = [[], "x", {"/a": None}, {"/a": {"when": 7, "template": "x"}}, {"/a": {"when": ["create"]}}]
    for templates in malformed:
        files, left_out = render(Metadata({"templates": templates}))
        assert files == []
        assert len(left_out) == (1 if isinstance(templates, dict) else 0)
    row = {"when": ["create"], "template": "x"}
    many = Metadata({"templates": {f"/a{n}": row for n in range(100)}}, files={"templates/x": b"y" * 60_000})
    files, left_out = render(many)
    assert (len(files), len(left_out)) == (1, 99)
