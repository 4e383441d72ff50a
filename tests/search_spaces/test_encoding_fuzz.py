"""Ten thousand broken files, each of which gives a network that is verified and analysed, or one line that says why not."""

import json
import math
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from analysis import FIGURES, Report, analyze
from nas.cli import main
from search_spaces import Architecture
from search_spaces.errors import NewerFormat, UserError
from tests.search_spaces.document_mutations import documents, mutated

FILES, FILES_A_CASE = 10_000, 250
SECONDS = 10
"""More than any file may take on a busy machine; most take a few thousandths."""
MEGABYTES = 500
"""More than all files together may take."""

CASES = [
    pytest.param(first, marks=() if first < 2_000 else pytest.mark.slow) for first in range(0, FILES, FILES_A_CASE)
]

originals: Callable[[], list[str]] = cache(documents)


def file(number: int) -> bytes:
    return mutated(random.Random(number), originals())


@pytest.fixture(autouse=True)
def memory_is_not_taken() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES


def read(data: bytes) -> Architecture | UserError:
    """The network in a file, or the error that its reader makes of it; nothing else may be raised."""
    try:
        return Architecture.from_json(data.decode("utf-8", "surrogateescape"))
    except UserError as error:
        return error


def numbers(part: Any) -> Iterator[float]:
    if isinstance(part, dict | list):
        for value in part.values() if isinstance(part, dict) else part:
            yield from numbers(value)
    elif isinstance(part, int | float) and not isinstance(part, bool):
        yield part


def check_line(line: str) -> None:
    """One line, of a length that can be read, that says how to mend it."""
    assert line.isprintable() and 20 < len(line) < 1_000, line
    assert any(word in line for word in ("; ", " must ", " needs ")), line


def check_report(report: Report) -> None:
    figures = report.figures()
    assert set(figures) == set(FIGURES)
    assert all(isinstance(figure, int) and figure >= 0 for figure in figures.values()), figures
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert all(map(math.isfinite, numbers(document)))
    for layer in document["layers"]:
        # A receptive field may begin before the input: its centre has a sign.
        assert all(
            number >= 0 for name, value in layer.items() if name != "receptive_field" for number in numbers(value)
        )


def check_network(network: Architecture) -> None:
    check_report(analyze(network))
    text = network.to_json()
    again = Architecture.from_json(text)
    assert again == network
    assert again.to_json() == text
    # The same by another way, since what is remembered of an equal network would be told again.
    assert network.flatten().key == network.key
    assert network.simplified().key == network.key


@pytest.mark.parametrize("first", CASES)
def test_a_broken_file_is_a_network_or_one_line(first: int) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(first, first + FILES_A_CASE):
        data = file(number)
        began = time.process_time()
        found = read(data)
        if isinstance(found, UserError):
            check_line(str(found))
        else:
            check_network(found)
        outcomes["refused" if isinstance(found, UserError) else "read"] += 1
        assert time.process_time() - began < SECONDS, number
    assert min(outcomes["refused"], outcomes["read"]) > FILES_A_CASE // 10, outcomes


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_the_command_line_tells_a_broken_file_in_one_line_and_an_exit_code(
    first: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "network.json"
    for number in range(first, first + 50):
        data = file(number)
        path.write_bytes(data)
        found = read(data)
        capsys.readouterr()
        code = main(["analyze", str(path), "--json"])
        out, err = capsys.readouterr()
        if isinstance(found, Architecture):
            assert (code, err) == (0, ""), number
            assert json.loads(out)["params"] == analyze(found).params
        else:
            assert code == (5 if isinstance(found, NewerFormat) else 2), (number, err)
            assert out == ""
            assert err.startswith("nas: ") and err.endswith("\n"), err
            check_line(err.removesuffix("\n"))


def test_originals_are_read_as_they_are() -> None:
    for text in originals():
        check_network(Architecture.from_json(text))
