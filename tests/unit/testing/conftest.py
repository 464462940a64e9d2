"""A server with one node and one storage, for each test anew."""

from collections.abc import Iterator

import pytest

from lxcast.testing import Cluster, Faults


@pytest.fixture
def server() -> Iterator[Cluster]:
    with Cluster(faults=Faults(idle=1.0)) as running:
        yield running
