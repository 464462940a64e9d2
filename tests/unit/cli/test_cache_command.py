import json
import os
from pathlib import Path

from tests.image_files import docker_archive
from tests.unit.cli.running import archive, lxcast
from tests.unit.rootfs.filesystems import minimal_debian


def test_the_cache_lists_conversions_and_downloads_and_removes_downloads_alone(tmp_path: Path) -> None:
    downloads = tmp_path / "cache/lxcast/downloads"
    downloads.mkdir(parents=True)
    for name, used in (("a" * 64, 10**9), ("b" * 64, None)):
        (downloads / name).write_bytes(b"12345")
        if used:
            os.utime(downloads / name, (used, used))
    saved = docker_archive(tmp_path / "saved.tar", [archive(minimal_debian())])
    (tmp_path / "rootfs.tar").write_bytes(archive(minimal_debian()))
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(*words: str | Path) -> str:
        done = lxcast(*words, cwd=tmp_path, environ=environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "aaaaaaaaaaaa" in run("cache", "list"), "no storage is no error"
    run("build", saved, "--name", "web")
    run("build", "rootfs.tar", "--name", "other")
    record = json.loads((tmp_path / "storage/template/cache/web-v1.json").read_text())
    listed = json.loads(run("cache", "list", "--json"))
    assert listed["templates"] == [
        {"template_id": "local:vztmpl/web-v1.tar.zst", "source": record["source"]["digest"], "rules": record["rules"]}
    ]
    assert [Path(each["file"]).name[0] for each in listed["downloads"]] == ["b", "a"]
    shown = run("cache", "list")
    for said in ("local:vztmpl/web-v1.tar.zst", record["rules"][7:19], "docker-archive", "bbbbbbbbbbbb", "5 B"):
        assert said in shown
    assert run("cache", "prune") == f"{downloads}/{'a' * 64}\n"
    assert json.loads(run("cache", "prune", "--days", "0", "--json"))["removed"][0]["size"] == 5
    assert run("cache", "prune", "--days", "0") == ""
    assert run("build", saved, "--name", "web") == "local:vztmpl/web-v1.tar.zst\n"
    assert lxcast("cache", "prune", "--days", "-1", cwd=tmp_path, environ=environ).returncode == 2
