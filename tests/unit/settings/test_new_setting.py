"""A new setting that does not affect the content is one row of the table and one field of a dataclass."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[3]

ROW = """    Setting("motto", "string", "none", "output", False, "Motto of the template.", ("none", "loud")),
)

BY_NAME"""
FIELD = '''    """How a template is written."""

    motto: str
'''
PROGRAM = """
import json, sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

from lxcast import settings
from lxcast.jobs.convert import Rules
from lxcast.jobs.reuse import rules_digest
from lxcast.sources import open_source
from packer_post.arguments import ATTRIBUTES, read_arguments
from packer_post.request import read_request

def digest(motto):
    options = settings.make_build_options("x", motto=motto)
    return rules_digest(options, Rules.chosen(options), open_source("x.tar"))

def template(**arguments):
    return json.dumps({"type": "object", "value": {"template_name": "x", **arguments}}).encode()

loader = SourceFileLoader("make_reference", sys.argv[1])
reference = module_from_spec(spec_from_loader("make_reference", loader))
loader.exec_module(reference)
request = {"LXCAST_SOURCE": "x.tar", "LXCAST_NAME": "x"}
print(json.dumps({
    "default": settings.make_build_options("x").output.motto,
    "file": settings.build_options(settings.load(Path(), {}), name="x").output.motto,
    "environment": settings.build_options(settings.load(Path(), {"LXCAST_MOTTO": "none"}), name="x").output.motto,
    "variable of the shim": read_request([], {**request, "LXCAST_MOTTO": "none"}).options().output.motto,
    "option of the shim": read_request(["--motto", "none"], request).options().output.motto,
    "attributes": [[each.name, each.type, each.description] for each in ATTRIBUTES if each.name == "motto"],
    "argument": read_arguments([template(motto="none")]).options().output.motto,
    "reference": [line for line in reference.settings() if "`motto`" in line],
    "digests": [digest("none"), digest("loud")],
}))
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Copy the packages and add the setting to the copy."""
    for package in ("lxcast", "packer_post"):
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in (
        ("table.py", ")\n\nBY_NAME", ROW),
        ("options.py", '    """How a template is written."""\n\n', FIELD),
    ):
        path = tmp_path / "lxcast/settings" / file
        content = path.read_text()
        assert content.count(old) == 1
        path.write_text(content.replace(old, new))
    (tmp_path / "lxcast.toml").write_text('motto = "loud"\n')
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("x"))
    return tmp_path


def python(site: Path, *words: str, **environ: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(site), "PYTHONPATH": str(site), **environ}
    done = subprocess.run([sys.executable, *words], cwd=site, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_an_option_a_variable_an_argument_and_in_the_reference_and_the_rules_stay_the_same(site: Path) -> None:
    found: dict[str, Any] = json.loads(python(site, "-c", PROGRAM, str(REPOSITORY / "scripts/make-reference")))
    assert found.pop("default") == "none"
    assert found.pop("file") == "loud"
    for door in ("environment", "variable of the shim", "option of the shim", "argument"):
        assert found.pop(door) == "none"
    assert found.pop("attributes") == [["motto", "string", "Motto of the template."]]
    (line,) = found.pop("reference")
    assert "`--motto`" in line
    assert "`LXCAST_MOTTO`" in line
    first, second = found.pop("digests")
    assert first == second
    assert found == {}


def test_the_commands_of_its_group_have_the_option(site: Path) -> None:
    for verb in ("build", "repack"):
        assert "--motto none|loud" in python(site, "-m", "lxcast", verb, "--help")
    settings = json.loads(python(site, "-m", "lxcast", "settings", "--json", LXCAST_MOTTO="none"))["settings"]
    (row,) = (each for each in settings if each["name"] == "motto")
    assert (row["value"], row["origin"]) == ("none", "LXCAST_MOTTO")
