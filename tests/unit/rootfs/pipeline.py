"""The part of the pipeline that surrounds cleanup and fit, for members made by hand."""

from collections.abc import Iterable

from lxcast.rootfs.cleanup import Cleanup
from lxcast.rootfs.fit import Fit, FitOptions, Fitting
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import LNK, Member


def fitted(
    members: Iterable[Member], fits: Iterable[Fit] = (), options: FitOptions | None = None
) -> tuple[dict[bytes, Member], list[bytes], Fitting]:
    """Run the pipeline's part around a fitting: return the members by path, their order, and the fitting."""
    fits = tuple(fits)
    fitting = Fitting(fits, options or FitOptions())
    survey = Survey(reads=[pattern for row in fits for pattern in row.reads])
    out = []
    for member in members:
        if fitting.holds(member.path, member.type) or (member.type == LNK and fitting.holds(member.link)):
            fitting.hold(member)
        else:
            survey.see(member)
            out.append(member)
    for member in fitting.finish(survey):
        survey.see(member)
        out.append(member)
    assert survey.quirks.repeated == []
    assert survey.quirks.forward_links == []
    return {member.path: member for member in out}, [member.path for member in out], fitting


def attributes(member: Member) -> dict[str, object]:
    body = b"".join(bytes(chunk) for chunk in member.chunks())
    return {name: getattr(member, name) for name in Member.__slots__} | {"body": body}


def cleaned(members: Iterable[Member], cleanup: Cleanup) -> list[Member]:
    out = []
    for member in members:
        hit = cleanup.action(member.path, member.type)
        if hit is None:
            out.append(member)
        elif hit.verb == "truncate":
            out.append(member.changed(size=0, body=b"", sparse=None))
    return out
