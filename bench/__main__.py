"""Measure lxcast and the baseline in turn, and print both with the ratio that is promised: `make bench`.

`python -m bench [--runs N] [ROW ...]`: rows by the start of their name, all without. Every line comes from this run.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from shlex import quote

from bench import inputs, publishing
from bench.measure import pairs, repeated, run
from bench.row import PYTHON, Bench, Line, cpus, walls


def keep(bench: Bench) -> Iterator[Line]:
    """Every member kept."""
    for digests, wall, cpu in (("one", 1.05, 1.0), ("both", 1.15, None)):
        pair = pairs(
            bench.convert(bench.export, "zst", digests), bench.baseline(bench.export), bench.env, bench.runs,
            start_up=bench.bare_start_up,
        )  # fmt: skip
        yield Line("keep", f"wall, {digests} digest(s) / zstd | openssl", pair.wall_ratio, wall, walls(pair))
        if cpu:
            yield Line("keep", f"CPU, {digests} digest(s) / zstd | openssl", pair.cpu_ratio, cpu, cpus(pair))


def cleanup(bench: Bench) -> Iterator[Line]:
    """Drop the larger part of an export: the bare conversion, then the whole command with its defaults."""
    source = bench.export
    pair = pairs(
        bench.convert(source, "zst", "both", "cleanup"), bench.baseline(source), bench.env, bench.runs,
        start_up=bench.bare_start_up,
    )  # fmt: skip
    yield Line("cleanup", "wall, bare / zstd | openssl", pair.wall_ratio, 0.70, walls(pair))
    for what, archive, limit in (
        ("larger part dropped", source, 0.62),
        ("a third dropped", inputs.with_a_third_dropped(source), 1.1),
    ):
        pair = pairs(bench.into_storage(archive), bench.baseline(archive), bench.env, bench.runs, between=bench.empty)
        yield Line("cleanup", f"wall, lxcast build, {what} / the same", pair.wall_ratio, limit, walls(pair))
        yield Line("cleanup", "peak memory of the largest process, MB", pair.ours.memory, 100)
        yield from share_dropped(bench, archive)


def share_dropped(bench: Bench, source: Path) -> Iterator[Line]:
    """Show how much of the input the last build left out."""
    record = json.loads((bench.directory / "storage/template/cache/bench-v1.json").read_text())
    dropped = sum(row["bytes"] for row in record["cleanup"].values())
    share = 100 * dropped / (dropped + record["unpacked_size"])
    yield Line("cleanup", "% of the files' bytes are dropped", share, None, f"{source.stat().st_size / 1e6:.0f} MB")


def engine(bench: Bench) -> Iterator[Line]:
    """From a container to the file."""
    source = f"docker-container:{bench.container}"
    baseline = f"docker export {bench.container} | zstd -q -T0 -3 -f -o {bench.directory}/baseline.zst"
    pair = pairs(
        bench.into_storage(source), baseline, bench.env, max(bench.runs, 13),
        start_up=bench.start_up, between=bench.empty,
    )  # fmt: skip
    yield Line("engine", "CPU, ours alone / docker export | zstd", pair.cpu_ratio, 0.60, cpus(pair))
    yield Line("engine", "wall, with the engine / docker export | zstd", pair.wall_ratio, 0.95, walls(pair))
    yield Line("engine", "peak memory of the largest process, MB", pair.ours.memory, 120)


def many(bench: Bench) -> Iterator[Line]:
    """400,000 members: the bare conversion with one digest, as the baseline has it, then the whole command."""
    for pax, limit in ((False, 1.45), (True, 1.8)):
        source = inputs.many(pax)
        name = "with pax headers" if pax else "plain"
        pair = pairs(
            bench.convert(source, "zst", "one"), bench.baseline(source), bench.env, bench.runs,
            start_up=bench.bare_start_up,
        )  # fmt: skip
        yield Line("many", f"wall, {name}, bare / zstd | openssl", pair.wall_ratio, limit, walls(pair))
        pair = pairs(bench.into_storage(source), bench.baseline(source), bench.env, bench.runs, between=bench.empty)
        yield Line("many", f"wall, {name}, lxcast build / the same", pair.wall_ratio, 1.6, walls(pair))
        yield Line(
            "many", f"peak memory of the largest process, {name}, MB", pair.ours.memory, 100 + 150 * inputs.MANY / 1e6
        )


def memory(bench: Bench) -> Iterator[Line]:
    """Ten times the input."""
    cost = repeated(bench.into_storage(inputs.tenfold(bench.export)), bench.env, 1)
    size = inputs.tenfold(bench.export).stat().st_size
    yield Line("memory", f"peak memory at {size / 1e9:.1f} GB, MB", cost.memory, 100, f"{cost.wall:.1f} s")


def gzip(bench: Bench) -> Iterator[Line]:
    """Every member kept, as .tar.gz."""
    target = bench.directory / "pigz.gz"
    pair = pairs(
        bench.convert(bench.export, "gz", "one"), f"pigz -6 < {quote(str(bench.export))} > {target}", bench.env,
        bench.runs, start_up=bench.bare_start_up,
    )  # fmt: skip
    yield Line("gzip", "wall / pigz -6", pair.wall_ratio, 0.15, walls(pair))
    ratio = (bench.directory / "bare.out").stat().st_size / target.stat().st_size
    yield Line("gzip", "size / pigz -6", ratio, 1.12)


def layers(bench: Bench) -> Iterator[Line]:
    """Merge an image's layers, where others unpack them first."""
    saved = inputs.saved_image()
    layout, bundle = inputs.layout(saved), bench.directory / "bundle"
    unpack = f"umoci unpack --image {layout}:v1 {bundle} && tar --zstd -C {bundle}/rootfs -cf {bundle}.tar.zst ."

    def empty() -> None:
        shutil.rmtree(bundle, ignore_errors=True)
        bench.empty()

    for name, source, limit in (("OCI layout, gzip", f"oci:{layout}", 0.30), ("docker save", str(saved), 0.20)):
        pair = pairs(
            bench.into_storage(source), unpack, bench.env, bench.runs,
            start_up=bench.start_up, between=empty,
        )  # fmt: skip
        yield Line("layers", f"wall, {name} / umoci unpack + tar --zstd", pair.wall_ratio, limit, walls(pair))
        record = json.loads((bench.directory / "storage/template/cache/bench-v1.json").read_text())
        dropped = sum(row["members"] for row in record["cleanup"].values())
        limit = 100 + 300 * (record["members"] + dropped) / 1e6
        yield Line("layers", f"peak memory, {name}, MB", pair.ours.memory, limit)


def repack(bench: Bench) -> Iterator[Line]:
    """From one compression to another, and out of an archive within an archive."""
    gzipped, nested = inputs.gzipped(bench.export), inputs.nested(bench.export)
    inner = f"xz -dc {quote(str(nested))} | tar -xO rootfs.tar.xz | xz -dc"
    for what, source, plain, limit in (
        (".tar.gz / gzip -dc | zstd", gzipped, f"gzip -dc {quote(str(gzipped))}", 0.70),
        ("nested .tar.xz / xz -dc | zstd", nested, inner, 1.15),
    ):
        baseline = f"{plain} | zstd -q -T0 -3 -f -o {bench.directory}/baseline.zst"
        pair = pairs(
            bench.into_storage(source), baseline, bench.env, bench.runs, start_up=bench.start_up, between=bench.empty
        )
        yield Line("repack", f"wall, {what}", pair.wall_ratio, limit, walls(pair))


def check(bench: Bench) -> Iterator[Line]:
    """Check a large template."""
    command = [PYTHON, "-m", "lxcast", "--quiet", "check", str(bench.big_template)]
    allow = [f"--allow={name}=measured" for name in ("init", "distribution", "few-members", "no-sbin")]
    pair = pairs(
        [*command, *allow], f"zstd -dcq {bench.big_template} > /dev/null", bench.env, bench.runs,
        start_up=bench.start_up,
    )  # fmt: skip
    yield Line("check", "wall, lxcast check / zstd -dc", pair.wall_ratio, 1.3, walls(pair))


def start(bench: Bench) -> Iterator[Line]:
    """Time short commands from exec to exit, in milliseconds."""

    def milliseconds(command: str | list[str], **variables: str) -> float:
        return repeated(command, {**bench.env, **variables}, bench.runs).wall * 1000

    empty = f"an empty typer command: {bench.start_up.wall * 1000:.0f} ms"
    yield Line("start", "ms, lxcast build of 10 kB", milliseconds(bench.into_storage(inputs.tiny())), 200, empty)
    yield Line("start", "ms, lxcast --help", milliseconds([PYTHON, "-m", "lxcast", "--help"]), 120, empty)
    words = {"_LXCAST_COMPLETE": "complete_bash", "COMP_WORDS": "lxcast build --st", "COMP_CWORD": "2"}
    yield Line("start", "ms, TAB behind lxcast build --st", milliseconds([PYTHON, "-m", "lxcast"], **words), 100, empty)
    storage = bench.directory / "storage"
    bare = milliseconds([PYTHON, "-S", "-c", "pass"])
    python = f"python -S: {bare:.0f} ms"
    query = f'{{"name":"bench","version":"v1","storage":"local={storage}"}}'
    answer = milliseconds(f"exec {PYTHON} -m terraform_ext <<< {quote(query)}")
    yield Line("start", "ms, the data source from a storage", answer, 100, python)
    pins = bench.directory / "templates.auto.tfvars.json"
    write = [PYTHON, "-m", "lxcast", "--quiet", "pin", "write", "bench", "--storage", f"local={storage}", "--file"]
    run([*write, str(pins)], bench.env)
    query = json.dumps({"name": "bench", "pin_file": str(pins)})
    answer = milliseconds(f"exec {PYTHON} -m terraform_ext <<< {quote(query)}")
    yield Line("start", "ms, the data source from a pin, above python -S", answer - bare, 25, python)


ROWS: dict[str, Callable[[Bench], Iterator[Line]]] = {
    row.__name__: row
    for row in (keep, cleanup, engine, many, memory, gzip, layers, repack, check, start, *publishing.ROWS)
}


def main() -> None:
    """Print a line for each promise."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"some of: {', '.join(ROWS)}")
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="pairs for each line (default 7)")
    arguments = parser.parse_args()
    chosen = [name for name in ROWS if not arguments.rows or name in arguments.rows]
    lacking = [
        program
        for program in ("zstd", "pigz", "openssl", "docker", "skopeo", "umoci", "curl")
        if not shutil.which(program)
    ]
    if lacking:
        raise SystemExit(f"bench: needs {', '.join(lacking)} on PATH (as root on Debian: scripts/setup-integration)")
    with ExitStack() as stack:
        # What the baselines write goes to a pipe: ours goes to memory, so that no disk is measured.
        memory = Path("/dev/shm")
        where = memory if memory.is_dir() and shutil.disk_usage(memory).free > 4e9 else None
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lxcast-bench-", dir=where)))
        bench = Bench(directory, stack, arguments.runs)
        for name in chosen:
            for line in ROWS[name](bench):
                print(line, flush=True)


if __name__ == "__main__":
    main()
