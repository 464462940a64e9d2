"""A container or an image of the engine, by its export."""

from collections.abc import Iterator
from contextlib import contextmanager

from lxcast.compression import Readable
from lxcast.engine import Container, Engine, Image, connect
from lxcast.engine.transport import Reply
from lxcast.errors import EngineError, SourceError
from lxcast.record import Origin
from lxcast.sources.archive import Archive
from lxcast.tar.member import DIR, printable
from lxcast.tar.reader import Reader


def open_container(name: str) -> Archive:
    """Return a container's filesystem. SourceError where there is none, EngineError where no engine answers."""
    engine = connect()
    container = engine.container(name)
    if container is None:
        is_image = engine.image(name) is not None
        raise SourceError(
            f"no container {name!r} in the engine at {engine.address}",
            hint=f"there is an image of that name: docker-daemon:{name}" if is_image else "docker ps --all lists them",
        )
    return _container(engine, container, name)


def open_image(reference: str) -> Archive:
    """Return an image's filesystem. SourceError where the engine has none, EngineError where no engine answers."""
    engine = connect()
    image = engine.image(reference)
    if image is None:
        raise SourceError(
            f"no image {reference!r} in the engine at {engine.address}", hint=f"is it this? docker pull {reference}"
        )
    return _image(engine, image, reference)


def open_word(word: str) -> Archive:
    """Return the container of that name, else the image; SourceError where there is neither."""
    try:
        engine = connect()
    except EngineError as error:
        raise EngineError(f"{word!r} is no file here, and {error.message}", hint=error.hint) from error
    container, image = engine.container(word), engine.image(word)
    # An engine also takes the start of an id: a short word such as "deb" may hit one by accident.
    if container and (container.name == word or len(word) >= 12):
        source = _container(engine, container, word)
        if image:
            source.warnings.append(
                f"{word} is a container and an image: the container was taken (docker-daemon:{word} is the image)"
            )
        return source
    if image and (len(word) >= 12 or not image.id.startswith(f"sha256:{word}")):
        return _image(engine, image, word)
    raise SourceError(
        f"{word!r} is no file here, and no container or image in the engine at {engine.address}",
        hint=f"ls, docker ps --all and docker images show what there is; is it this? docker pull {word}",
    )


def _container(engine: Engine, container: Container, name: str) -> Archive:
    warnings: list[str] = []
    if container.running:
        warnings.append(f"container {name} is running: what it writes meanwhile may be missing or half there")
    engine.sweep(warnings.append)
    _warn_of_volumes(engine, container, name, warnings)

    @contextmanager
    def opener() -> Iterator[Readable]:
        with engine.export(container.id) as reply:
            yield reply

    # No digest: its image's would not name what the container changed.
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

    origin = Origin("docker-daemon", reference, image.id)
    return Archive(origin, opener, rereadable=True, warnings=warnings, config=image.config)


def _warn_of_volumes(engine: Engine, container: Container, name: str, warnings: list[str]) -> None:
    """Say which volumes hold files that the export lacks.

    An export shows, below a volume's path, what the image has there; the engine fills a new volume with the same. So
    the volume is compared with the image, as a second container of it shows it, and reading stops at the first
    difference. For that the engine makes the folders that volumes are mounted on, as the container's start does.
    """
    for path in container.volumes:
        volume = f"container {name} has a volume at {path}"
        try:
            found = _first_unlike(engine, container, path, warnings)
        except SourceError as error:
            warnings.append(f"{volume} that the export lacks; it could not be read: {error}")
            continue
        if found:
            warnings.append(
                f"{volume} with files that the export lacks, {found} for one: "
                "write what the template needs of it to another folder"
            )


def _first_unlike(engine: Engine, container: Container, path: str, warnings: list[str]) -> str:
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
    """Yield what lies below the top folder of an archive: its path there, and what a change of it would change."""
    for member in Reader(reply, path):
        below = member.path.partition(b"/")[2]
        if below:
            yield below, () if member.type == DIR else (member.type, member.size, member.mtime, member.link)
