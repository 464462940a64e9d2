import json
import os
import pty
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lxcast.tar.member import Member, regular
from tests.unit.cli.running import COMMAND, archive, environment, lxcast, wait_for
from tests.unit.rootfs.filesystems import minimal_debian, without

VOLID = "local:vztmpl/debian-12-v1.tar.zst"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An archive that every check passes, with a host key to leave out."""
    return write(
        tmp_path / "rootfs.tar", regular(b"etc/ssh/ssh_host_rsa_key", b"key", 0o600), regular(b"srv", b"x" * 999)
    )


def write(path: Path, *more: Member, base: list[Member] | None = None) -> Path:
    path.write_bytes(archive([*(minimal_debian() if base is None else base), *more]))
    return path


def build(tmp_path: Path, source: Path, *more: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return lxcast("build", source, "--name", "debian-12", *more, cwd=tmp_path, environ=environ)


def stored(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.glob("storage/template/cache/*"))


def test_the_id_is_all_of_standard_output_and_the_rest_is_talk(tmp_path: Path, source: Path) -> None:
    told = build(tmp_path, source)
    assert (told.returncode, told.stdout) == (0, f"{VOLID}\n")
    assert stored(tmp_path) == [f"debian-12-v1{end}" for end in (".json", ".tar.zst", ".tar.zst.sha256")]
    assert re.search(r"^  ssh-host-keys +1  3 B$", told.stderr, re.MULTILINE)
    assert re.search(rf"^{VOLID}: \d+ members, ", told.stderr, re.MULTILINE)
    assert "pct create" not in told.stderr, "the next step is for terminals"


def test_with_json_the_record_is_standard_output(tmp_path: Path, source: Path) -> None:
    told = build(tmp_path, source, "--json")
    assert json.loads(told.stdout) == json.loads((tmp_path / "storage/template/cache/debian-12-v1.json").read_text())


def test_an_unchanged_source_is_the_version_that_is_there(tmp_path: Path, source: Path) -> None:
    assert build(tmp_path, source).returncode == 0
    told = build(tmp_path, source, "--if-changed")
    assert told.stdout == f"{VOLID}\n"
    assert f"{VOLID} has the same content" in told.stderr
    assert build(tmp_path, source, LXCAST_IF_CHANGED="1").stdout == f"{VOLID}\n"
    assert build(tmp_path, source, "--no-if-changed", LXCAST_IF_CHANGED="1").stdout == VOLID.replace("v1", "v2") + "\n"


def test_a_dry_run_reports_and_keeps_nothing(tmp_path: Path, source: Path) -> None:
    told = build(tmp_path, source, "--dry-run")
    assert (told.returncode, told.stdout) == (0, "")
    assert re.search(r"^dry run, no template was written: \d+ members, [\d.]+ k?B unpacked$", told.stderr, re.MULTILINE)
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize(
    ("members", "check"),
    [
        ([regular(b"manifest.json", b"[]"), regular(b"layer.tar", b"x")], "image-archive"),
        ([regular(b"debian-12-v1.tar.zst", b"x")], "nested-archive"),
        ([each.changed(path=b"rootfs/" + each.path) for each in minimal_debian() if each.path], "nested-archive"),
        ([regular(b"hello", b"x")], "few-members"),
    ],
)
def test_what_is_no_root_filesystem_is_told_as_that(tmp_path: Path, members: list[Member], check: str) -> None:
    """And not as one that lacks everything: fit puts the usual folders into whatever it is given."""
    told = build(tmp_path, write(tmp_path / "rootfs.tar", base=members))
    assert told.returncode == 5
    assert re.findall(r"^  ([a-z-]+): ", told.stderr, re.MULTILINE)[0] == check


def test_output_takes_any_folder_and_tells_the_path(tmp_path: Path, source: Path) -> None:
    told = build(tmp_path, source, "--output", "out", "--pattern", "{name}", LXCAST_STORAGE="/nonexistent/x")
    assert Path(told.stdout.strip()).name == "debian-12.tar.zst"
    assert (tmp_path / "out/debian-12.tar.zst").is_file()


def test_what_only_a_proxmox_storage_uses_is_told(tmp_path: Path, source: Path) -> None:
    told = build(tmp_path, source, "--node", "pve1", "--put-url", "https://files.test/{file}")
    assert (told.returncode, told.stdout) == (0, f"{VOLID}\n")
    assert "--node, --put-url: ignored, because ./storage is a directory" in told.stderr


def test_quiet_leaves_nothing_but_warnings(tmp_path: Path) -> None:
    source = write(tmp_path / "x.tar", base=without(minimal_debian(), b"usr/sbin/sshd"))
    told = build(tmp_path, source, "--quiet")
    assert told.returncode == 0
    lines = told.stderr.splitlines()
    assert any(line.startswith("lxcast: warning: ssh-installed: ") for line in lines)
    assert all(line.startswith(("lxcast: warning: ", "  ")) for line in lines)


def test_failing_checks_are_told_at_once_and_publish_nothing(tmp_path: Path) -> None:
    broken = without(minimal_debian(), b"usr/lib/systemd/systemd", b"usr/sbin/sshd")
    source = write(tmp_path / "x.tar", base=broken)
    told = build(tmp_path, source, "--policy", "golden")
    assert (told.returncode, told.stdout) == (5, "")
    assert {"init", "ssh-installed"} <= set(re.findall(r"^  ([a-z-]+): ", told.stderr, re.MULTILINE))
    assert "--allow" in told.stderr
    assert stored(tmp_path) == []
    (tmp_path / "lxcast.toml").write_text('[allow]\nssh-installed = "no network"')
    allowed = build(tmp_path, source, "--allow", "init=entrypoint is set", "--policy", "golden", "--json")
    findings = json.loads(allowed.stdout)["checks"]["findings"]
    assert {each["check"]: each.get("allowed") for each in findings}["ssh-installed"] == "no network"
    assert "reason: entrypoint is set" in allowed.stderr


def test_warnings_beside_failing_checks_say_where_and_what_to_do(tmp_path: Path) -> None:
    broken = without(minimal_debian(), b"usr/sbin/init", b"etc/ssh/sshd_config")
    told = build(tmp_path, write(tmp_path / "x.tar", base=broken), "--quiet")
    assert told.returncode == 5
    assert "warning: ssh-config: /etc/ssh/sshd_config: missing" in told.stderr
    assert "reinstall the package openssh-server" in told.stderr


def test_all_that_is_wrong_with_the_options_is_told_at_once(tmp_path: Path, source: Path) -> None:
    wrong = {"--allow": "nope=x", "--enable": "foo", "--pattern": "{nam}", "--storage": "word"}
    told = build(tmp_path, source, *(word for pair in wrong.items() for word in pair))
    assert told.returncode == 2
    for what in ("unknown check 'nope'", "unknown row 'foo'", "{nam}", "'word' is not an existing directory"):
        assert what in told.stderr


Break = Callable[[Path], list[str]]

ERRORS: dict[str, tuple[Break, int, str]] = {
    "missing": (lambda at: ["none.tar"], 3, "none.tar: no such file"),
    "empty": (lambda at: [put(at / "empty.tar", b"")], 4, "empty"),
    "no archive": (lambda at: [put(at / "notes.tar", b"hello, world\n" * 100)], 4, "notes.tar"),
    "truncated": (lambda at: [put(at / "cut.tar", archive(minimal_debian())[:20_000])], 4, "cut.tar"),
    "storage is a file": (lambda at: [good(at), "--storage", put(at / "s", b"")], 2, f"{os.sep}s"),
    "storage not there": (lambda at: [good(at), "--storage", str(at / "a/b")], 6, "a is not a directory"),
    "pattern": (lambda at: [good(at), "--pattern", "{nam}"], 2, "unknown field {nam}"),
    "pattern without version": (lambda at: [good(at), "--pattern", "{name}"], 2, "--output"),
    "row": (lambda at: [good(at), "--disable", "apt-cash"], 2, "did you mean apt-cache"),
    "policy": (lambda at: [good(at), "--policy", "silver"], 2, "expected one of default, golden"),
    "check": (lambda at: [good(at), "--allow", "inti=x"], 2, "unknown check 'inti'"),
    "version": (lambda at: [good(at), "--version", "four"], 2, "--version four: expected next, or a number such as v3"),
    "glob": (lambda at: [good(at), "--remove", "../etc"], 2, "expected a path below the root"),
    "addition": (lambda at: [good(at), "--add", "none:/etc/x"], 2, "--add none: No such file or directory"),
    "size": (lambda at: [good(at), "--max-size", "100"], 4, "100 bytes"),
    "members": (lambda at: [good(at), "--max-members", "3"], 4, "3 members"),
}


def put(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def good(folder: Path) -> str:
    return str(write(folder / "good.tar"))


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_has_its_code_and_says_what_to_do(tmp_path: Path, name: str) -> None:
    make, code, said = ERRORS[name]
    source, *options = make(tmp_path)
    told = lxcast("build", source, "--name", "d", *options, cwd=tmp_path)
    assert told.stderr.count("lxcast: error: ") == 1
    assert said in told.stderr
    assert "Traceback" not in told.stderr
    assert "bug in lxcast" not in told.stderr
    assert (told.returncode, told.stdout) == (code, "")
    assert stored(tmp_path) == []


def test_a_name_that_is_taken_by_other_bytes_is_a_conflict(tmp_path: Path, source: Path) -> None:
    assert build(tmp_path, source, "--version", "v1").returncode == 0
    other = write(tmp_path / "other.tar", regular(b"srv", b"other"))
    told = build(tmp_path, other, "--version", "v1")
    assert (told.returncode, told.stdout) == (7, "")
    assert build(tmp_path, source, "--version", "v1").stdout == f"{VOLID}\n", "the same bytes again are a success"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, code: int) -> None:
    log = tmp_path / "log"
    process = subprocess.Popen(
        [*COMMAND, "--log-file", log, "build", "-", "--name", "d", "--version", "v1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment({}),
    )
    assert process.stdin is not None
    process.stdin.write(archive([*minimal_debian(), regular(b"srv", os.urandom(3 << 20))])[: 2 << 20])
    process.stdin.flush()
    wait_for("begin   reading", log, process)
    time.sleep(0.2)
    process.send_signal(number)
    out, talk = process.communicate(timeout=240)
    assert (process.returncode, out) == (code, b"")
    assert f"interrupted by {number.name}".encode() in talk
    assert b"Traceback" not in talk
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [log]
    assert "failed after" in log.read_text()


def test_a_terminal_is_told_the_next_step(tmp_path: Path, source: Path) -> None:
    main, side = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "build", source, "--name", "debian-12"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=side,
        cwd=tmp_path,
        env=environment({}),
    )
    os.close(side)
    seen = b""
    try:
        while piece := os.read(main, 65536):
            seen += piece
    except OSError:  # EIO: Linux's end of file for a terminal
        pass
    os.close(main)
    assert process.communicate()[0].decode() == f"{VOLID}\n"
    text = seen.decode().replace("\r\n", "\n")
    line = shlex.split(text[text.index("pct create") :].partition("\n\n")[0].replace("\\\n", " "))
    assert line[3] == VOLID
    assert "nesting=1" in line
    assert line[line.index("--arch") + 1] == "amd64"
    assert f'storage = "local={tmp_path}/storage"' in text


def test_a_check_prints_its_findings_and_ends_with_their_verdict(tmp_path: Path, source: Path) -> None:
    assert build(tmp_path, source).returncode == 0
    clean = lxcast("check", tmp_path / "storage/template/cache/debian-12-v1.tar.zst")
    assert (clean.returncode, clean.stdout.splitlines()[-1]) == (0, "no errors, no warnings")
    broken = write(tmp_path / "x.tar", base=without(minimal_debian(), b"usr/lib/systemd/systemd", b"usr/sbin/sshd"))
    told = lxcast("check", broken)
    assert told.returncode == 5
    assert re.search(r"^error    init: ", told.stdout, re.MULTILINE)
    assert re.search(r"^warning  ssh-installed: ", told.stdout, re.MULTILINE)
    as_json = lxcast("check", broken, "--policy", "golden", "--json")
    document = json.loads(as_json.stdout)
    assert as_json.returncode == 5
    assert (document["schema"], document["ostype"], document["arch"]) == (1, "debian", "amd64")
    levels = {each["check"]: each["level"] for each in document["findings"]}
    assert levels["ssh-installed"] == "error"
    assert document["errors"] == sum(level == "error" for level in levels.values())


def test_a_diff_prints_the_differences_and_ends_with_1(tmp_path: Path, source: Path) -> None:
    other = write(tmp_path / "other.tar", regular(b"srv", b"x" * 999, 0o600))
    same = lxcast("diff", source, source)
    assert (same.returncode, same.stdout) == (0, "")
    told = lxcast("diff", source, other)
    assert (told.returncode, told.stdout) == (1, "- /etc/ssh/ssh_host_rsa_key\n~ /srv mode 0644 -> 0600\n")
    document = json.loads(lxcast("diff", source, other, "--json").stdout)
    assert document["differences"][1] == {"path": "/srv", "change": "changed", "what": "mode", "a": "0644", "b": "0600"}
    assert lxcast("diff", source, "none.tar").returncode == 3


def test_the_log_file_names_and_times_each_step(tmp_path: Path, source: Path) -> None:
    assert build(tmp_path, source, "--quiet", "--log-file", "log").stderr == ""
    ended = re.findall(r"Z end     (\w+).*: done in \d+\.\d\d s", (tmp_path / "log").read_text())
    assert ended == ["reading", "checking", "publishing"]
