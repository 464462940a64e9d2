"""A server with one node and one storage, for each test anew."""

from collections.abc import Iterator

import pytest

from lxcast.testing import Cluster, Faults


@pytest.fixture
def server() -> Iterator[Cluster]:
    # Neither a slow client nor a late last record is taken for one that is silent.
    with Cluster(faults=Faults(idle=60.0, late_wait=60.0)) as running:
        yield running
