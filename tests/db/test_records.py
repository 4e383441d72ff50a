"""Every value comes back from the database exactly as it went in."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
from db_examples import architecture, search, trial
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from db import ArchitectureRecord, Measurement, Search, SearchState, Store, Trial, TrialState
from db.schema import FIGURES
from search_spaces.choices import Genotype

numbers = itertools.count()

# Surrogates are no text, and PostgreSQL has none with NUL.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
int64s = st.integers(-(2**63), 2**63 - 1)
counts = st.integers(0, 2**63 - 1)
times = st.floats(0, 1e12)
scalars = st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
genotypes = st.dictionaries(st.text(max_size=8), scalars | st.lists(scalars, max_size=3).map(tuple), max_size=4).map(
    lambda answers: Genotype(tuple(answers.items()))
)
json_values = st.recursive(
    st.none() | scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
metrics = st.dictionaries(st.text(max_size=8), st.integers() | st.floats() | st.booleans(), max_size=5)


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    state = draw(st.sampled_from(TrialState))
    return Trial(
        proposal=draw(counts),
        number=None if state is TrialState.REJECTED else draw(counts),
        state=state,
        genotype=draw(genotypes),
        key="",
        evaluation_key=draw(texts),
        data=draw(texts),
        fidelity=draw(int64s),
        seed=draw(int64s),
        mutation=draw(st.none() | texts),
        information=draw(st.dictionaries(st.text(max_size=5), json_values, max_size=3)),
        attempts=draw(counts),
        worker=draw(st.none() | texts),
        started_at=draw(st.none() | times),
        finished_at=draw(st.none() | times),
        seconds=draw(st.none() | times),
        values=draw(metrics),
        reason=draw(st.none() | texts),
        reused_from=draw(st.none() | st.tuples(texts, counts)),
        observed=draw(st.none() | counts),
        weights_sha256=draw(st.none() | st.text("0123456789abcdef", min_size=64, max_size=64)),
    )


def exactly(value: Any) -> Any:
    """The value in a form in which NaN equals NaN, and 1, 1.0 and True differ."""
    match value:
        case float():
            return ("float", "nan" if math.isnan(value) else value.hex())
        case dict():
            return {name: exactly(part) for name, part in value.items()}
        case list() | tuple():
            return (type(value), [exactly(part) for part in value])
        case Trial() | Search() | ArchitectureRecord() | Measurement() | Genotype():
            return [exactly(getattr(value, name)) for name in value.__slots__]
    return (type(value), value)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if request.param == "sqlite":
        url = str(tmp_path_factory.mktemp("records") / "nas.db")
    else:
        url = request.getfixturevalue("postgresql_urls")()
    with Store.open(url, mode="create") as store:
        yield store


def names() -> tuple[str, str]:
    number = next(numbers)
    return f"search {number}", f"{number:032x}"


@given(drawn=trials())
@settings(max_examples=60, deadline=None)
def test_recorded_trial_comes_back(shared: Store, drawn: Trial) -> None:
    name, key = names()
    expected = Trial(**{field: getattr(drawn, field) for field in Trial.__slots__} | {"key": key})
    shared.create_search(search(name))
    shared.record_proposals(name, [expected], [architecture(key)])
    (found,) = shared.trials(name, include_rejected=True)
    assert exactly(found) == exactly(expected)
    assert exactly(shared.observed(name)) == exactly([] if expected.observed is None else [expected])


@given(
    drawn=trials().filter(lambda drawn: drawn.number is not None),
    measured=st.dictionaries(st.integers(1, 2**62), metrics, max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_finished_trial_and_its_measurements_come_back(
    shared: Store, drawn: Trial, measured: dict[int, dict[str, float]]
) -> None:
    name, key = names()
    fixed = {field: getattr(drawn, field) for field in Trial.__slots__} | {"key": key}
    waiting = Trial(**fixed | {"state": TrialState.WAITING, "values": {}, "reused_from": None, "observed": None})
    expected = Trial(**fixed)
    measurements = [Measurement(epoch, values) for epoch, values in measured.items()]
    shared.create_search(search(name))
    shared.record_proposals(name, [waiting], [architecture(key)])
    shared.finish_trial(name, expected, measurements)
    assert drawn.number is not None
    assert exactly(shared.trial(name, drawn.number)) == exactly(expected)
    by_epoch = sorted(measurements, key=lambda measurement: measurement.epoch)
    assert exactly(shared.measurements(name, drawn.number)) == exactly(by_epoch)


figure_names = st.sampled_from(["params", "macs", "receptive_field", "depth"]) | st.text(max_size=8)


@given(
    space=texts,
    document=texts,
    figures=st.dictionaries(figure_names, int64s | st.integers() | st.floats() | st.booleans(), max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_architecture_comes_back(shared: Store, space: str, document: str, figures: dict[str, float]) -> None:
    name, key = names()
    record = ArchitectureRecord(key, space, document, figures)
    shared.create_search(search(name))
    shared.record_proposals(name, [], [record])
    assert exactly(shared.architecture(key)) == exactly(record)


printable = st.text(st.characters(exclude_characters=":"), min_size=1, max_size=20).filter(
    lambda name: name.isprintable() and name == name.strip()
)


@given(
    name=printable,
    run=texts,
    seed=int64s,
    budget=counts,
    created_at=times,
    state=st.sampled_from(SearchState),
    driver=st.none() | st.tuples(texts, counts, times),
)
@settings(max_examples=40, deadline=None)
def test_search_comes_back(
    shared: Store,
    name: str,
    run: str,
    seed: int,
    budget: int,
    created_at: float,
    state: SearchState,
    driver: tuple[str, int, float] | None,
) -> None:
    host, pid, started_at = driver or (None, None, None)
    number, _ = names()
    expected = search(
        f"{name}/{number}",
        run=run,
        seed=seed,
        budget=budget,
        created_at=created_at,
        state=state,
        driver_host=host,
        driver_pid=pid,
        driver_started_at=started_at,
    )
    shared.create_search(expected)
    assert exactly(shared.search(expected.name)) == exactly(expected)


def test_reason_that_is_no_text_is_escaped_and_not_an_error(store: Store) -> None:
    store.create_search(search())
    store.record_proposals("digits", [trial(reason="no file \udcff\0")], [architecture()])
    assert store.trial("digits", 0).reason == "no file \\udcff\\x00"


def test_columns_of_figures_are_those_that_the_analysis_names() -> None:
    """The two rooms do not import each other, so each has a list of its own."""
    assert FIGURES == analysis.FIGURES


def test_figures_are_columns_that_sql_can_compare(store: Store) -> None:
    store.create_search(search())
    store.record_proposals("digits", [], [architecture("a" * 32, params=2**62, share=0.5)])
    store.record_proposals("digits", [], [architecture("b" * 32, params=2**62 + 1, macs=0.5)])
    with store._database.reading() as connection:
        rows = connection.exec_driver_sql(f"SELECT key FROM architectures WHERE params > {2**62}").fetchall()
    assert rows == [("b" * 32,)]
