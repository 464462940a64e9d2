"""The archives that the bench reads; they are made once and kept in the cache."""

import hashlib
import io
import os
import random
import subprocess
import tarfile
import tempfile
from pathlib import Path

from bench.measure import cached

CACHE = Path(
    os.environ.get("LXCAST_TOOLS") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lxcast-tools"
)
DIRECTORY = CACHE / "bench"
REPOSITORY = Path(__file__).resolve().parents[1]

MANY = 400_000


def service_container() -> str:
    """Make a container of the tests' image (systemd, openssh-server, python3, apt's lists and caches); return its id.

    Ends the bench where no engine answers.
    """
    image = subprocess.run([REPOSITORY / "scripts" / "service-image"], capture_output=True, text=True)
    if image.returncode:
        raise SystemExit(f"bench: no image to measure: {image.stderr.strip()}")
    made = subprocess.run(
        ["docker", "create", image.stdout.split()[-1], "/bin/true"], capture_output=True, text=True, check=True
    )
    return made.stdout.strip()


def export(container: str) -> Path:
    """Return the container's export."""

    def make(path: Path) -> None:
        with path.open("wb") as file:
            subprocess.run(["docker", "export", container], stdout=file, check=True)

    image = subprocess.run(
        ["docker", "inspect", "-f", "{{.Image}}", container], capture_output=True, text=True, check=True
    )
    return cached(DIRECTORY / f"export-{image.stdout.strip().removeprefix('sha256:')[:12]}.tar", make)


_LAYERS = """
FROM {base}
RUN rm -rf /usr/share/doc && mkdir /opt/copy && cp -a /usr/lib/python3.11 /opt/copy/
RUN chmod 700 /opt/copy && rm -rf /opt/copy/python3.11/test && echo changed > /opt/copy/note
RUN mv /opt/copy /opt/moved
RUN rm -rf /opt/moved && mkdir /opt/moved && touch /opt/moved/new
RUN ln /usr/bin/env /usr/bin/env-too && chmod 4755 /usr/bin/env
"""


def saved_image() -> Path:
    """Return what `docker save` writes of an image with six layers and more, with whiteouts, moves and hard links."""
    base = subprocess.run([REPOSITORY / "scripts" / "service-image"], capture_output=True, text=True, check=True)
    dockerfile = _LAYERS.format(base=base.stdout.split()[-1])

    def make(path: Path) -> None:
        name = "lxcast-test/layers"
        environ = {**os.environ, "DOCKER_BUILDKIT": "0"}
        subprocess.run(["docker", "build", "-q", "-t", name, "-"], input=dockerfile, text=True, check=True, env=environ)
        subprocess.run(["docker", "save", "-o", path, name], check=True)
        subprocess.run(["docker", "image", "rm", name], check=True, capture_output=True)

    key = hashlib.sha256(dockerfile.encode()).hexdigest()[:12]
    return cached(DIRECTORY / f"saved-{key}.tar", make)


def layout(saved: Path) -> Path:
    """Return the OCI layout, with layers compressed by gzip, of what `docker save` wrote."""

    def make(path: Path) -> None:
        subprocess.run(["skopeo", "copy", "-q", f"docker-archive:{saved}", f"oci:{path}:v1"], check=True)

    return cached(saved.with_suffix(".oci"), make)


def gzipped(source: Path) -> Path:
    """Return an archive compressed as gzip does it unasked."""

    def make(path: Path) -> None:
        with path.open("wb") as file:
            subprocess.run(["gzip", "-c", source], stdout=file, check=True)

    return cached(source.with_suffix(".tar.gz"), make)


def nested(source: Path) -> Path:
    """Return a root filesystem wrapped as old hakim archives have it: in a .tar.xz within a .tar.xz, with metadata."""

    def make(path: Path) -> None:
        with tempfile.TemporaryDirectory(dir=path.parent) as directory:
            with Path(directory, "rootfs.tar.xz").open("wb") as file:
                subprocess.run(["xz", "-T0", "-1", "-c", source], stdout=file, check=True)
            Path(directory, "metadata.yaml").write_text("architecture: x86_64\n")
            subprocess.run(
                ["tar", "-C", directory, "-cJf", Path(directory, "meta.tar.xz"), "metadata.yaml"], check=True
            )
            both = ["tar", "-C", directory, "-I", "xz -T0 -0", "-cf", str(path), "meta.tar.xz", "rootfs.tar.xz"]
            subprocess.run(both, check=True)

    return cached(source.with_suffix(".nested.tar.xz"), make)


def many(pax: bool) -> Path:
    """Return an archive of 400,000 files of 1 KB in 400 directories, as GNU tar writes it."""

    def make(path: Path) -> None:
        chance = random.Random(1)
        words = [chance.randbytes(3).hex().encode() for _ in range(5000)]
        text = b" ".join(chance.choices(words, k=400_000))
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT) as tar:
            for number in range(MANY):
                directory, file = divmod(number, 1000)
                info = tarfile.TarInfo(f"./usr/share/collection/part-{directory:03d}/document-{file:03d}.txt")
                info.size = chance.randrange(100, 1900)
                info.mtime = 1_700_000_000 + directory + (0.5 if pax else 0)
                start = chance.randrange(len(text) - 2000)
                tar.addfile(info, io.BytesIO(text[start : start + info.size]))

    return cached(DIRECTORY / f"many-{'pax' if pax else 'plain'}.tar", make)


def tenfold(source: Path) -> Path:
    """Return an archive of the same members and nine large files, each with all the bytes of `source`: about 4 GB."""

    def make(path: Path) -> None:
        with tarfile.open(path, "w") as target:
            with tarfile.open(source) as tar:
                for member in tar:
                    target.addfile(member, tar.extractfile(member) if member.isreg() else None)
            for number in range(9):
                with source.open("rb") as body:
                    info = tarfile.TarInfo(f"var/lib/data-{number}")
                    info.size = source.stat().st_size
                    target.addfile(info, body)

    return cached(DIRECTORY / f"{source.stem}-large.tar", make)


def with_a_third_dropped(source: Path) -> Path:
    """Return an archive of which cleanup drops a third of the bytes: it has only a part of apt's lists and packages."""
    dropped = ("var/lib/apt/lists/", "var/cache/apt/")

    def make(path: Path) -> None:
        with tarfile.open(source) as tar:
            left = sum(member.size for member in tar if not member.name.startswith(dropped)) // 2
        with tarfile.open(source) as tar, tarfile.open(path, "w") as target:
            for member in tar:
                if member.isreg() and member.name.startswith(dropped):
                    if member.size > left:
                        continue
                    left -= member.size
                target.addfile(member, tar.extractfile(member) if member.isreg() else None)

    return cached(DIRECTORY / f"{source.stem}-third.tar", make)


def tiny() -> Path:
    """Return an archive of 10 kB: what a build costs before it reads much."""

    def make(path: Path) -> None:
        with tarfile.open(path, "w") as target:
            info = tarfile.TarInfo("etc/motd")
            info.size = 7
            target.addfile(info, io.BytesIO(b"hello\n\n"))

    return cached(DIRECTORY / "tiny.tar", make)
