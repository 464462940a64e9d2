"""What Packer built, kept over a failed post-processor.

Packer deletes the builder's artifact when any post-processor fails (packer/build.go), after this program has ended. So
the artifact gets a second hold before the work starts: a file a hard link next to it, an image a container that is made
from it and never runs. A tag would be no hold: `docker rmi ID`, which Packer runs, removes an image with its one tag,
and removing the last tag removes an image.
"""

import errno
import itertools
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lxcast.durable import explained
from lxcast.engine import connect
from lxcast.errors import EngineError

_NO_IMAGES = ("docker-container:", "docker-archive:", "oci:", "oci-archive:", "bundle:", "rootfs:", "http:", "https:")

Release = Callable[[], object]
"""Lets go of what was held."""


@contextmanager
def kept(source: str, warn: Callable[[str], None]) -> Iterator[str]:
    """Hold a file or an image while the context lasts, and yield the source by which it can be read afterwards.

    An error leaves the hold behind; success releases it, and so does an interrupt, after which nothing is wanted. What
    is neither a file nor an image is not Packer's to delete: "" then. Raises StorageError or EngineError where a file
    or an image cannot be held.
    """
    name, release = _hold(source, warn)
    try:
        yield name
    except Exception:
        raise
    except BaseException:
        release()
        raise
    release()


def _hold(source: str, warn: Callable[[str], None]) -> tuple[str, Release]:
    if source and Path(source).is_file():
        copy = _second_name(Path(source).resolve())
        return str(copy), copy.unlink
    if source and source != "-" and not Path(source).exists() and not source.startswith(_NO_IMAGES):
        return _container(source, warn)
    return "", lambda: None


def _second_name(file: Path) -> Path:
    """Give a file a second name next to it, or copy it if the filesystem has no hard links."""
    with explained(file.parent):
        for number in itertools.count(1):
            copy = file.with_name(f"{file.stem}-kept{number}{file.suffix}")
            try:
                os.link(file, copy)
            except FileExistsError:
                continue
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                    raise
                with copy.open("xb") as target, file.open("rb") as content:
                    shutil.copyfileobj(content, target, 1 << 20)
            return copy
    raise AssertionError  # count() does not end


def _container(source: str, warn: Callable[[str], None]) -> tuple[str, Release]:
    """Make a container of the image that `source` names, if it names one."""
    reference = source.removeprefix("docker-daemon:")
    try:
        engine = connect()
        image = None if reference == source and engine.container(source) else engine.image(reference)
    except EngineError:
        # The build meets the same and says it; without an engine Packer cannot delete an image either.
        return "", lambda: None
    if image is None:
        return "", lambda: None
    name = f"lxcast-kept-{secrets.token_hex(4)}"
    engine.create(image, name, {"lxcast.kept": source})
    return f"docker-container:{name}", lambda: engine.remove(name, warn)
