from collections.abc import Iterator
from pathlib import Path

import pytest

from db import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "nas.db"), mode="create") as opened:
        yield opened
