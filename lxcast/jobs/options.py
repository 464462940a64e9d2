"""The checksums of sources that are https URLs."""

from collections.abc import Sequence

from lxcast.errors import UsageError
from lxcast.settings import checksum_problems
from lxcast.sources import is_url


def expected(sources: Sequence[str], sha256: Sequence[str], *, insecure: bool) -> list[str | None]:
    """Return the checksum that each source must have, as `open_source` takes it.

    `sha256` holds one for each https source, in their order; with `insecure` any content is accepted.

    Raises UsageError.
    """
    remote = sum(map(is_url, sources))
    checksums = [each.lower().removeprefix("sha256:") for each in sha256]
    problems = checksum_problems(checksums, insecure=insecure)
    if checksums and len(checksums) != remote:
        problems.append(f"--sha256 is given {len(checksums)} times for {remote} https sources: give one for each")
    if insecure and not remote:
        problems.append("--insecure-no-checksum: no source is an https URL")
    if problems:
        raise UsageError("\n".join(problems))
    left = iter(checksums or ([""] * remote if insecure else []))
    return [next(left, None) if is_url(each) else None for each in sources]
