"""A root filesystem in a squashfs image, as Incus, LXD and distrobuilder write it, read as a tar stream.

sqfs2tar of squashfs-tools-ng converts it: without root, without a copy on disk, in the order of names.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lxcast.compression import Readable
from lxcast.errors import ArchiveError, SourceError
from lxcast.record import Origin
from lxcast.sources.archive import Archive

_PROGRAM = "sqfs2tar"


def open_squashfs(path: Path) -> Archive:
    """Return the content of a squashfs image as an archive. Raises SourceError if sqfs2tar is not installed."""
    program = shutil.which(_PROGRAM)
    if program is None:
        raise SourceError(
            f"{path}: is a squashfs image, which needs {_PROGRAM}, and that is not installed",
            hint="install the package squashfs-tools-ng (Debian, Ubuntu, Fedora, Arch)",
        )
    warnings: list[str] = []

    @contextmanager
    def opener() -> Iterator[Readable]:
        with tempfile.TemporaryFile() as complaints:
            command = [program, str(path.absolute())]
            with subprocess.Popen(command, bufsize=0, stdout=subprocess.PIPE, stderr=complaints) as process:  # noqa: S603 - no shell
                assert process.stdout is not None
                try:
                    yield process.stdout  # type: ignore[misc] # unbuffered it is a FileIO
                    while process.stdout.read(1 << 20):
                        pass  # the zeros that fill up the last record
                except ArchiveError:
                    if process.stdout.read(1):
                        process.kill()
                        raise
                    process.wait()  # its own failure explains more than the cut off archive
                    if not process.returncode:
                        raise
                except BaseException:
                    process.kill()
                    raise
            complaints.seek(0)
            lines = complaints.read(4096).decode(errors="replace").splitlines()
            if process.returncode:
                raise ArchiveError(f"{path}: {_PROGRAM} failed: {'; '.join(lines) or process.returncode}")
            warnings.extend(line for each in lines if (line := f"{path}: {each}") not in warnings)

    return Archive(Origin("squashfs", str(path)), opener, rereadable=True, warnings=warnings)
