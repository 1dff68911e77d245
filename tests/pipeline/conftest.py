"""A rude web server for every test that asks for `web`."""

from collections.abc import Iterator

import pytest
from rude_web import Web


@pytest.fixture
def web() -> Iterator[Web]:
    site = Web()
    yield site
    site.server.shutdown()
    site.server.server_close()
