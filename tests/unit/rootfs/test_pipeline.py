import io
import tarfile

from lxcast.rootfs.cleanup import Cleanup
from lxcast.rootfs.fit import FitOptions, Fitting
from lxcast.rootfs.pipeline import Pipeline
from lxcast.rootfs.survey import Survey
from lxcast.tar.reader import Reader
from lxcast.tar.writer import Writer


def test_no_time_above_the_latest_is_written_whatever_the_headers_were() -> None:
    source, out = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=source, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, mtime in (("./usr/old", 4), ("./usr/new", 6), ("./etc/wanted", 6), ("usr/bare", 6)):
            info = tarfile.TarInfo(name)
            info.mtime = mtime
            tar.addfile(info)
    source.seek(0)
    pipeline = Pipeline(
        Cleanup(()), Fitting((), FitOptions()), Survey(), Writer(out.write), interests=("etc/wanted",), clamp=5
    )
    assert not pipeline.run(Reader(source, "the.tar"))
    times = {member.path: member.mtime for member in Reader(io.BytesIO(out.getvalue()), "written")}
    assert times == {b"": 0, b"usr/old": 4, b"usr/new": 5, b"etc/wanted": 5, b"usr/bare": 5}
