"""The rows of publishing: to the stand-in server, over TLS on loopback."""

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from bench.measure import Cost, pairs, repeated, run
from bench.row import PYTHON, Bench, Line, walls

MB = 10**6
NODES = 40


@dataclass(frozen=True, slots=True)
class Server:
    """The stand-in server as a process of its own: its output, and the directory that has everything."""

    told: dict[str, str]
    directory: Path
    env: dict[str, str]

    @classmethod
    def start(cls, bench: Bench, stack: ExitStack, nodes: int = 1) -> "Server":
        """Start it; it ends with the stack, and so does what it holds."""
        directory = bench.directory / "server"
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        names = [word for number in range(nodes) for word in ("--node", f"n{number}")]
        told = json.loads(process(bench, stack, "lxcast.testing", "--state", directory, *names))
        env = {
            **bench.env,
            "PM_API_URL": told["url"],
            "PM_API_TOKEN_ID": told["token_id"],
            "PM_API_TOKEN_SECRET": told["token_secret"],
            "PM_NODE": "n0",
            "PM_STORAGE": "local",
            "SSL_CERT_FILE": told["ca"],
            "NO_PROXY": "127.0.0.1",
        }
        return cls(told, directory, env)

    def curl(self, file: Path, algorithm: str, checksum: str) -> str:
        """Return the upload as a script does it; without `Expect` curl waits a second for an answer to it."""
        return (
            f"curl -sSf -o /dev/null --cacert {self.told['ca']} -H Expect: "
            f"-H 'Authorization: PVEAPIToken={self.told['token_id']}={self.told['token_secret']}' "
            f"-F content=vztmpl -F checksum-algorithm={algorithm} -F checksum={checksum} "
            f"-F 'filename=@{file};filename=curl-v1.tar.zst' "
            f"{self.told['url']}/api2/json/nodes/n0/storage/local/upload"
        )

    def empty(self) -> None:
        """Wait until no task has a file in its hands, and remove what was published."""
        while any(self.directory.glob("var-tmp/*/*")):
            time.sleep(0.05)
        for file in self.directory.glob("storages/*/*/template/cache/*"):
            file.unlink()
        shutil.rmtree(self.directory / "records", ignore_errors=True)

    def publish(self, file: Path, *options: str) -> list[str]:
        """Return the command that publishes a file that is not a template."""
        words = ["publish", "--no-check", str(file), "--records", str(self.directory / "records"), *options]
        return [PYTHON, "-m", "lxcast", "--quiet", *words]


def process(bench: Bench, stack: ExitStack, module: str, *words: str | Path) -> str:
    """Start a module as a process that ends with the stack; return the first line that it prints."""
    command = [PYTHON, "-m", module, *map(str, words)]
    started = subprocess.Popen(command, env=bench.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end() -> None:
        started.terminate()
        started.wait()

    stack.callback(end)
    assert started.stdout is not None
    return started.stdout.readline()


def filled(directory: Path, size: int) -> tuple[Path, str]:
    """Write a file of bytes that do not compress; return it and its SHA-256."""
    digest, path = hashlib.sha256(), directory / "bench-v1.tar.zst"
    with path.open("wb") as file, Path("/dev/urandom").open("rb") as chance:
        for start in range(0, size, MB):
            piece = chance.read(min(MB, size - start))
            digest.update(piece)
            file.write(piece)
    return path, digest.hexdigest()


def upload(bench: Bench) -> Iterator[Line]:
    """600 MiB, the client alone; and the memory of the whole command at 5 GB."""
    with ExitStack() as stack:
        server = Server.start(bench, stack)
        file, sha256 = filled(bench.directory, 600 << 20)
        stack.callback(file.unlink)
        small, small_sha256 = bench.directory / "small", hashlib.sha256(b"x").hexdigest()
        small.write_bytes(b"x")
        send = [PYTHON, "-m", "bench.send"]
        start_up = repeated([*send, str(small), "bench-v0.tar.zst", small_sha256], server.env, bench.runs)
        pair = pairs(
            [*send, str(file), file.name, sha256], server.curl(file, "sha256", sha256), server.env, bench.runs,
            start_up=start_up, before=server.empty,
        )  # fmt: skip
        yield Line("upload", "wall, 600 MiB / curl -F", pair.wall_ratio, 1.0, walls(pair))
        server.empty()
        with file.open("wb") as hollow:
            hollow.truncate(5 * 10**9)
        cost = run(server.publish(file), server.env)
        yield Line("upload", "peak memory, lxcast publish, 5 GB, MB", cost.memory, 60, f"{cost.wall:.1f} s")


def end_to_end(bench: Bench) -> Iterator[Line]:
    """From a container to the upload; ours is confirmed, with the task awaited and the storage listed."""
    with ExitStack() as stack:
        server = Server.start(bench, stack)
        out = bench.directory / "shell.tar.zst"
        options = ["--name", "bench", "--storage", "proxmox:n0/local", "--records", str(server.directory / "records")]
        shell = (
            f"docker export {bench.container} | zstd -q -T0 -3 -f -o {out}; sum=$(sha512sum {quote(str(out))}); "
            + server.curl(out, "sha512", "${sum%% *}")
        )
        pair = pairs(
            bench.build(f"docker-container:{bench.container}", *options), shell, server.env, max(bench.runs, 13),
            before=server.empty,
        )  # fmt: skip
        yield Line("end_to_end", "wall / export | zstd; sha512sum; curl", pair.wall_ratio, 0.80, walls(pair))


def fan_out(bench: Bench) -> Iterator[Line]:
    """40 nodes, every one its copy through one link; then each through its own, from a web server."""
    size, rate = 30 * MB, 100 * MB
    with ExitStack() as stack:
        server = Server.start(bench, stack, NODES)
        file, _ = filled(bench.directory, size)
        stack.callback(file.unlink)
        port = process(bench, stack, "bench.link", server.told["url"].rpartition(":")[2], str(rate)).strip()
        command = server.publish(file, "--all-nodes")
        cost = once(server, command, {**server.env, "PM_API_URL": f"https://127.0.0.1:{port}"})
        floor = NODES * size / rate
        detail = f"{cost.wall:.1f} s, {NODES} x {size // MB} MB at {rate // MB} MB/s"
        yield Line("fan_out", "wall, to each / bytes over the link's speed", cost.wall / floor, 1.2, detail)
        size, rate = 24 * MB, 4 * MB
        file, _ = filled(bench.directory, size)
        url = f"http://127.0.0.1:{process(bench, stack, 'bench.web', bench.directory / 'put', str(rate)).strip()}/"
        cost = once(server, server.publish(file, "--all-nodes", "--put-url", url, "--get-url", url), server.env)
        one = run(f"curl -sSf -T {file} {url} && curl -sSf -o /dev/null {url}", server.env)
        detail = f"{cost.wall:.1f} s / {one.wall:.1f} s, {NODES} x {size // MB} MB at {rate // MB} MB/s each"
        yield Line("fan_out", "wall, put and fetched / one PUT + one GET", cost.wall / one.wall, 1.2, detail)


def once(server: Server, command: list[str], env: dict[str, str]) -> Cost:
    """Run it once where nothing is published yet, and see that every node has it afterwards."""
    server.empty()
    cost = run(command, env)
    held = len(list(server.directory.glob("storages/*/*/template/cache/*")))
    if held != NODES:
        raise SystemExit(f"bench: {held} of {NODES} nodes have it")
    return cost


ROWS = (upload, end_to_end, fan_out)
