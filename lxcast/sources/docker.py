"""A container or an image of the engine, read through its export."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lxcast.compression import Readable
from lxcast.engine import Container, Engine, Image, connect
from lxcast.engine.transport import Reply
from lxcast.errors import EngineError, SourceError
from lxcast.record import Origin
from lxcast.sources.archive import Archive
from lxcast.sources.paths import missing_file
from lxcast.tar.member import DIR, printable
from lxcast.tar.reader import Reader


def open_container(name: str) -> Archive:
    """Return a container's filesystem. Raises SourceError if it does not exist, EngineError if no engine answers."""
    engine = connect()
    container = engine.container(name)
    if container is None:
        is_image = engine.image(name) is not None
        raise SourceError(
            f"container {name!r} not found in the engine at {engine.address}",
            hint=f"for the image of that name, use docker-daemon:{name}" if is_image else "list them: docker ps --all",
        )
    return _container(engine, container, name)


def open_image(reference: str) -> Archive:
    """Return an image's filesystem. Raises SourceError if it does not exist, EngineError if no engine answers."""
    engine = connect()
    image = engine.image(reference)
    if image is None:
        raise SourceError(
            f"image {reference!r} not found in the engine at {engine.address}", hint=f"docker pull {reference}"
        )
    return _image(engine, image, reference)


def open_word(word: str) -> Archive:
    """Return the container of that name, else the image. Raises SourceError if neither exists."""
    try:
        engine = connect()
    except EngineError as error:
        raise EngineError(f"{word!r} is not a file, and {error.message}", hint=error.hint) from error
    container, image = engine.container(word), engine.image(word)
    # An engine also accepts the start of an id: a short word such as "deb" may match one by accident.
    if container and (container.name == word or len(word) >= 12):
        source = _container(engine, container, word)
        if image:
            source.warnings.append(
                f"{word} is a container and an image: reading the container (for the image, use docker-daemon:{word})"
            )
        return source
    if image and (len(word) >= 12 or not image.id.startswith(f"sha256:{word}")):
        return _image(engine, image, word)
    similar = missing_file(Path(word)).hint
    hint = similar if similar.startswith("did you mean") else f"to fetch the image: docker pull {word}"
    raise SourceError(f"{word!r} is not a file, nor a container or image in the engine at {engine.address}", hint=hint)


def _container(engine: Engine, container: Container, name: str) -> Archive:
    warnings: list[str] = []
    if container.running:
        warnings.append(f"container {name} is running: files that it writes now may be missing or incomplete")
    engine.sweep(warnings.append)
    _warn_of_volumes(engine, container, name, warnings)

    @contextmanager
    def opener() -> Iterator[Readable]:
        with engine.export(container.id) as reply:
            yield reply

    # No digest: that of its image does not cover what the container changed.
    return Archive(
        Origin("docker-container", name), opener, rereadable=True, warnings=warnings, config=container.config
    )


def _image(engine: Engine, image: Image, reference: str) -> Archive:
    warnings: list[str] = []
    engine.sweep(warnings.append)

    @contextmanager
    def opener() -> Iterator[Readable]:
        with engine.created(image, warnings.append) as container, engine.export(container) as reply:
            yield reply

    origin = Origin("docker-daemon", reference, image.identity)
    return Archive(origin, opener, rereadable=True, warnings=warnings, config=image.config)


def _warn_of_volumes(engine: Engine, container: Container, name: str, warnings: list[str]) -> None:
    """Warn of volumes whose files are missing in the export.

    Below a volume's path, an export has the image's files, and the engine fills a new volume with the same. So the
    volume is compared with the image, as a second container of it shows it, up to the first difference. The engine
    creates the mount points of volumes for that, as it does when the container starts.
    """
    for path in container.volumes:
        volume = f"container {name} has a volume at {path}"
        try:
            found = _first_difference(engine, container, path, warnings)
        except SourceError as error:
            warnings.append(f"{volume} that is not exported; it could not be read: {error}")
            continue
        if found:
            warnings.append(
                f"{volume} with files that are not exported, such as {found}: "
                "move what the template needs to another directory"
            )


def _first_difference(engine: Engine, container: Container, path: str, warnings: list[str]) -> str:
    with engine.archive(container.id, path) as reply:
        if reply is None or next(_listing(reply, path), None) is None:
            return ""
    expected: dict[bytes, tuple[object, ...]] = {}
    image = engine.image(container.image)
    if image:
        with engine.created(image, warnings.append) as second, engine.archive(second, path) as reply:
            expected = dict(_listing(reply, path)) if reply else {}
    with engine.archive(container.id, path) as reply:
        members = _listing(reply, path) if reply else iter(())
        found = next((name for name, facts in members if expected.get(name) != facts), None)
    return "" if found is None else f"{path.rstrip('/')}{printable(found)}"


def _listing(reply: Reply, path: str) -> Iterator[tuple[bytes, tuple[object, ...]]]:
    """Yield the members below an archive's top directory: the path, and the properties to compare."""
    for member in Reader(reply, path):
        below = member.path.partition(b"/")[2]
        if below:
            yield below, () if member.type == DIR else (member.type, member.size, member.mtime, member.link)
