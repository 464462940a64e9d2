"""What Packer built, kept over a failed post-processor.

Packer deletes the builder's artifact when any post-processor fails (packer/build.go), after this program has ended. So
the artifact gets a second hold before the work starts: a file a hard link beside it, an image a container that is made
from it and never runs.
"""

import errno
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lxcast.durable import explained


@contextmanager
def kept(source: str) -> Iterator[str]:
    """Hold a file or an image while the context lasts, and yield the source by which it can be read afterwards.

    An error leaves the hold behind; success releases it, and so does an interrupt, after which nothing is wanted. What
    is neither a file nor an image is not Packer's to delete: "" then. Raises StorageError where a file cannot be kept.
    """
    if not source or not Path(source).is_file():
        yield ""
        return
    copy = _second_name(Path(source).resolve())
    try:
        yield str(copy)
    except Exception:
        raise
    except BaseException:
        copy.unlink()
        raise
    copy.unlink()


def _second_name(file: Path) -> Path:
    """Give a file a second name beside it; where the filesystem knows no hard links, a copy."""
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
