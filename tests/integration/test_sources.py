"""One image in every form that a source has: the same members from each, and the same bytes from each twice."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from lxcast.jobs.diff import diff
from lxcast.progress import Progress
from tests.image_files import layout
from tests.integration.tools import UNIQUE, Program, missing, on_path
from tests.random_layers import Stack, stacks

DOCKERFILE = r"""
FROM {base}
RUN mkdir -p /opt/a /opt/b/c && echo one > /opt/a/one && ln /opt/a/one /opt/a/two && echo x > /opt/b/c/x \
 && ln -s b /opt/link && touch -d 2020-01-01 /opt/b && mkdir /opt/turns && echo y > /opt/turns/y
RUN rm /opt/a/one && chmod 4755 /usr/bin/env && cp /bin/true /opt/capable && touch /opt/wh
RUN rm -rf /opt/b && mkdir /opt/b && echo new > /opt/b/new && ln /opt/a/two /opt/b/three && rm -rf /usr/share/doc
RUN mv /opt/a /opt/renamed && rm -rf /opt/turns && echo file > /opt/turns && chown 1234:5678 /opt/wh
RUN rm /opt/link && mkdir -m 1777 /opt/link && echo z > /opt/link/z && chmod 700 /opt/renamed \
 && python3 -c "import os; os.setxattr('/opt/capable', 'security.capability', b'\1\0\0\2\0\4' + bytes(14))"
RUN ln /opt/capable /opt/capable-too && mv /usr/share/man /usr/share/manual && rm /opt/wh
"""

FORMS = ("container", "export", "saved", "layout", "layout archive", "bundle", "folder")


def _program(name: str) -> Program:
    found = on_path(name)
    if found is None or os.geteuid() != 0:
        missing(f"no {name}, or no root to unpack as")
    return Program(found)


@pytest.fixture(scope="module")
def forms(engine: Program, service_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return form -> source."""
    skopeo, umoci = _program("skopeo"), _program("umoci")
    folder = tmp_path_factory.mktemp("forms")
    name = f"lxcast-test/forms-{UNIQUE}"
    (folder / "context").mkdir()
    (folder / "context/Dockerfile").write_text(DOCKERFILE.format(base=service_image))
    engine.run("build", "--tag", name, folder / "context")
    container = f"lxcast-test-forms-{UNIQUE}"
    engine.run("create", "--name", container, name, "/sbin/init")
    try:
        engine.run("export", "--output", folder / "export.tar", container)
        engine.run("save", "--output", folder / "saved.tar", name)
        skopeo.run("copy", f"docker-archive:{folder}/saved.tar", f"oci:{folder}/layout:v1")
        skopeo.run("copy", f"oci:{folder}/layout:v1", f"oci-archive:{folder}/layout.tar:v1")
        umoci.run("unpack", "--image", f"{folder}/layout:v1", folder / "bundle")
        sources = (
            f"docker-container:{container}", f"{folder}/export.tar", f"docker-archive:{folder}/saved.tar",
            f"oci:{folder}/layout:v1", f"{folder}/layout.tar", f"bundle:{folder}/bundle",
            f"rootfs:{folder}/bundle/rootfs",
        )  # fmt: skip
        yield dict(zip(FORMS, sources, strict=True))
    finally:
        engine.run("rm", container)
        engine.run("image", "rm", name)


@pytest.fixture(scope="module")
def templates(
    forms: dict[str, str], commands: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple[Path, str]]]:
    """Return form -> the template and its diff id, of two builds."""
    lxcast = Program(commands / "lxcast", {"SOURCE_DATE_EPOCH": "1700000000"})
    built: dict[str, list[tuple[Path, str]]] = {}
    for form, source in forms.items():
        for _ in range(2):
            folder = tmp_path_factory.mktemp("built")
            options = ("--name", "x", "--output", folder, "--json")
            record = json.loads(lxcast.run("build", source, *options).stdout)
            built.setdefault(form, []).append((folder / record["file"], record["diff_id"]))
    return built


@pytest.mark.parametrize("form", FORMS)
def test_each_form_has_the_same_members_and_the_same_bytes_twice(
    templates: dict[str, list[tuple[Path, str]]], form: str
) -> None:
    (first, digest), (_, again) = templates[form]
    assert digest == again
    differences = diff(str(templates["container"][0][0]), str(first), Progress())
    assert list(map(str, differences)) == []


def test_the_merge_is_what_umoci_unpacks(forms: dict[str, str]) -> None:
    """As they are, before anything is cleaned or fitted."""
    assert list(map(str, diff(forms["layout"], forms["folder"], Progress()))) == []


@settings(deadline=None, max_examples=25)
@given(stacks())
def test_random_layers_are_what_umoci_unpacks(stack: Stack) -> None:
    umoci = _program("umoci")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        layout(folder / "image", stack.layers, name="v1")
        umoci.run("unpack", "--image", f"{folder}/image:v1", folder / "bundle")
        found = diff(f"oci:{folder}/image", f"rootfs:{folder}/bundle/rootfs", Progress())
    assert [str(each) for each in found if each.path] == []  # no layer says anything of the root folder itself
