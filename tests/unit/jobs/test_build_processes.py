"""Whole builds as processes: the same bytes from anywhere, many at once, killed at any moment, on a full disk."""

import gzip
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from lxcast.rootfs.checks import CHECKS
from lxcast.tar.member import Member, directory, regular, symlink
from lxcast.tar.writer import Writer

ROOT = Path(__file__).parents[3]
ALLOW = [f"--allow={check.id}=the tree of a test" for check in CHECKS]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    noise = random.Random(1)
    members: list[Member] = [
        directory(b"etc"),
        regular(b"etc/hostname", b"builder\n"),
        directory(b"srv"),
        directory(b"tmp"),
    ]
    members += [regular(b"srv/f%04d" % at, noise.randbytes(noise.randrange(60_000)), mtime=at) for at in range(300)]
    members += [regular(b"tmp/x", b"x" * 5000), symlink(b"bin", b"usr/bin")]
    out = bytearray()
    writer = Writer(out.extend)
    for member in members:
        writer.add(member)
    writer.finish()
    path = tmp_path / "rootfs.tar"
    path.write_bytes(out)
    return path


def command(source: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "lxcast", "build", source, "--name", "t", *map(str, arguments), *ALLOW]


def environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": "/proc/none", **more}


def run(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    options = {"capture_output": True, "text": True, "check": False, "env": environment(), **more}
    return subprocess.run(words, **options)  # type: ignore[call-overload,no-any-return] # by name


def records(storage: Path) -> list[dict[str, object]]:
    """Return the templates' records; each must describe the template beside it, and nothing else may lie there."""
    folder = storage / "template/cache"
    found = []
    expected = set()
    for path in folder.glob("*.json"):
        if not path.stat().st_size:  # a number that a dead build had claimed
            expected.add(path.name)
            continue
        record = json.loads(path.read_text())
        template = folder / record["file"]
        expected |= {path.name, record["file"], record["file"] + ".sha256"}
        if template.exists():  # the template is published last: a dead build may have come as far as its record
            assert hashlib.sha256(template.read_bytes()).hexdigest() == record["sha256"]
            found.append(record)
    assert {path.name for path in folder.glob("*.tar*") if path.suffix != ".sha256"} == {each["file"] for each in found}
    assert {path.name for path in folder.iterdir()} <= expected
    return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("format", ["zst", "gz", "tar"])
def test_one_filesystem_gives_one_file_wherever_it_is_built(
    tmp_path: Path, source: Path, stack: ExitStack, format: str
) -> None:
    packed = tmp_path / "other name.gz"
    packed.write_bytes(gzip.compress(source.read_bytes()))
    zst = tmp_path / "x"
    subprocess.run(["zstd", "-q", source, "-o", zst], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    opened = stack.enter_context(source.open("rb"))
    ways: list[tuple[str, dict[str, object], list[str]]] = [
        (str(source), {}, []),
        (str(source), {"umask": 0o077, "cwd": elsewhere}, ["--threads", "1"]),
        (str(packed), {"env": environment(TZ="Asia/Tokyo", LC_ALL="C", TMPDIR=str(elsewhere))}, ["--threads", "3"]),
        (str(zst), {"env": environment(LC_ALL="C.UTF-8", PYTHONHASHSEED="7")}, []),
        ("-", {"stdin": opened}, ["--threads", "8"]),
    ]
    sums = set()
    for number, (name, options, arguments) in enumerate(ways):
        out = tmp_path / f"out{number}"
        told = run(*command(name, "--output", out, "--format", format, *arguments), **options)
        assert told.returncode == 0, told.stderr
        sums.add(hashlib.sha256(Path(told.stdout.strip()).read_bytes()).hexdigest())
    feeder = stack.enter_context(
        subprocess.Popen(["dd", f"if={source}", "bs=4093", "status=none"], stdout=subprocess.PIPE)
    )
    told = run(*command("-", "--output", tmp_path / "pipe", "--format", format), stdin=feeder.stdout)
    sums.add(hashlib.sha256(Path(told.stdout.strip()).read_bytes()).hexdigest())
    assert len(sums) == 1


def test_a_template_built_again_has_its_own_content(tmp_path: Path, source: Path) -> None:
    once = run(*command(str(source), "--output", tmp_path / "once", "--json"))
    again = run(
        *command(json.loads(once.stdout)["file"], "--output", tmp_path / "again", "--json"), cwd=tmp_path / "once"
    )
    assert json.loads(once.stdout)["diff_id"] == json.loads(again.stdout)["diff_id"]


def test_twenty_builds_at_once_give_twenty_versions(tmp_path: Path, source: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        told = list(pool.map(lambda _: run(*command(str(source), "--storage", f"nfs={tmp_path}")), range(20)))
    assert {each.stderr for each in told if each.returncode} == set()
    assert {each.stdout for each in told} == {f"nfs:vztmpl/t-v{number}.tar.zst\n" for number in range(1, 21)}
    assert len(records(tmp_path)) == 20


def test_builds_killed_at_any_moment_leave_whole_templates_only(tmp_path: Path, source: Path) -> None:
    storage = tmp_path / "s"
    storage.mkdir()
    began = time.monotonic()
    assert run(*command(str(source), "--storage", storage)).returncode == 0
    took = time.monotonic() - began
    moments = random.Random(9)
    for _ in range(15):
        with subprocess.Popen(
            command(str(source), "--storage", storage),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(moments.uniform(0.3, 1.1) * took)
            process.kill()
    told = run(*command(str(source), "--storage", storage))
    assert told.returncode == 0, told.stderr
    assert f":vztmpl/{max(records(storage), key=lambda each: int(str(each['version'])[1:]))['file']}" in told.stdout


@pytest.mark.parametrize("format", ["gz", "zst", "tar"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_the_threads_of_every_format(
    tmp_path: Path, format: str, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command("-", "--output", out, "--format", format),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdin is not None
    body = bytearray()
    writer = Writer(body.extend)
    writer.add(regular(b"big", random.Random(0).randbytes(24 << 20)))
    writer.flush()
    process.stdin.write(body[: 23 << 20])
    process.stdin.flush()
    until = time.monotonic() + 240
    while not (out.is_dir() and any(path.stat().st_size for path in out.iterdir())):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(number)
    _, talk = process.communicate(timeout=240)
    assert process.returncode == code, talk
    assert list(out.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Two megabytes."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("format", ["gz", "xz", "zst", "tar"])
def test_a_full_disk_is_told_and_left_as_it_was(source: Path, small_disk: Path, format: str) -> None:
    told = run(*command(str(source), "--storage", small_disk, "--format", format), timeout=240)
    assert (told.returncode, told.stdout) == (6, "")
    assert "the disk is full" in told.stderr
    assert "hint: free some space" in told.stderr
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


def test_a_wrong_epoch_is_told(tmp_path: Path, source: Path) -> None:
    for wrong in ("yesterday", "-5", "1e9"):
        told = run(*command(str(source), "--output", tmp_path / "out"), env=environment(SOURCE_DATE_EPOCH=wrong))
        assert told.returncode == 2, told.stderr
        assert "SOURCE_DATE_EPOCH" in told.stderr
        assert "Traceback" not in told.stderr
