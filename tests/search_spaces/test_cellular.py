"""The cellular space: its contract, its conditions, and that it is of a use."""

import random

import pytest
import torch

from search_spaces import SearchSpace, to_module
from search_spaces.enumeration import count
from search_spaces.errors import UserError
from search_spaces.graph import Cell
from search_spaces.ops import Shape
from search_spaces.spaces.cellular import FAMILIES, Cellular
from tests.contracts.search_space import SearchSpaceContract, sampled


class TestCellular(SearchSpaceContract):
    @pytest.fixture
    def space(self) -> SearchSpace:
        return Cellular()


class TestCellularOnColourImages(SearchSpaceContract):
    @pytest.fixture
    def space(self) -> SearchSpace:
        return Cellular(input_shape=(3, 32, 32), classes=100, widths=(16, 64), deepest=2)


def test_the_count_is_the_closed_form() -> None:
    space = Cellular(widths=(8, 16), deepest=2)
    subsets = 6 + 4 + 1
    # Ways of a cell without a reduction to choose, by family: widths × kernels, × expansions, growths, × subsets.
    plain, bottleneck, dense, inception = 2 * 2, 2 * 2 * 2, 3, 2 * subsets
    first = 2 * plain + bottleneck + dense + inception
    later = 4 * (2 * plain + bottleneck) + dense + 3 * inception
    rest = 2 * 2 * 3
    stem, dropout = 2, 2
    expected = stem * dropout * ((first * rest) * (later * rest) + (first * rest) * (later * rest) ** 2)
    assert count(space.build) == expected


def test_questions_are_asked_only_where_they_mean_something() -> None:
    wanted = {
        "plain": {"width", "kernel"},
        "residual": {"width", "kernel"},
        "bottleneck": {"width", "kernel", "expansion"},
        "dense": {"growth"},
        "inception": {"width", "branches"},
    }
    seen = set()
    for elaboration in sampled(Cellular(), 200):
        answers = dict(elaboration.genotype.values)
        for stage in range(1, int(str(answers["stages"])) + 1):
            prefix = f"stage{stage}.cell."
            family = str(answers[prefix + "family"])
            asked = {name.removeprefix(prefix) for name in answers if name.startswith(prefix)} - {"family"}
            reduces = {"reduction"} if stage > 1 and family != "dense" else set()
            assert asked == wanted[family] | reduces
            seen.add(family)
    assert seen == set(FAMILIES)


def test_every_answer_to_every_question_occurs_and_builds() -> None:
    seen: dict[str, set[object]] = {}
    domains = {}
    for elaboration in sampled(Cellular(), 1_500):
        for decision in elaboration.decisions:
            seen.setdefault(decision.name, set()).add(decision.value)
            domains[decision.name] = decision.domain
    assert all(len(seen[name]) == domain.count for name, domain in domains.items())


def test_repeated_cells_are_the_same_value() -> None:
    for elaboration in sampled(Cellular(), 50):
        answers = dict(elaboration.genotype.values)
        stage = next(node.operation for node in elaboration.architecture.graph.nodes if node.name == "stage1")
        assert isinstance(stage, Cell)
        cells = [node.operation for node in stage.body.nodes if node.name.startswith("cell")]
        assert len(cells) == answers["stage1.depth"]
        assert len(set(cells[1:])) <= 1


@pytest.mark.parametrize(
    ("shape", "most_stages"),
    [
        ((1, 4, 4), 2),
        ((1, 5, 9), 2),
        ((1, 8, 8), 3),
        ((1, 28, 28), 4),
        ((3, 33, 47), 4),
        ((3, 95, 95), 4),
        ((3, 224, 224), 4),
    ],
)
def test_every_size_of_image_is_taken(shape: Shape, most_stages: int) -> None:
    space = Cellular(input_shape=shape)
    elaborations = sampled(space, 60)
    assert {dict(e.genotype.values)["stages"] for e in elaborations} == set(range(2, most_stages + 1))
    assert all(e.architecture.output_shapes == ((10,),) for e in elaborations)
    with torch.device("meta"):
        module = to_module(elaborations[0].architecture)
        assert module(torch.empty(2, *shape)).shape == (2, 10)


def test_many_samples_are_small_enough_for_the_digits() -> None:
    space = Cellular()
    rng = random.Random(0)
    sizes = []
    for _ in range(40):
        with torch.device("meta"):
            module = to_module(space.sample(rng=rng))
        sizes.append(sum(weight.numel() for weight in module.parameters()))
    assert sum(size <= 100_000 for size in sizes) > 10
    assert min(sizes) < 10_000
    assert 100_000 < max(sizes) < 1_000_000


@pytest.mark.parametrize(
    "parameters",
    [
        {"input_shape": (3, 3, 32)},
        {"input_shape": (8, 8)},
        {"input_shape": (0, 8, 8)},
        {"classes": 0},
        {"widths": ()},
        {"widths": (12,)},
        {"deepest": 0},
        {"deepest": 2.0},
        {"widths": "8"},
        {"widths": (8.0,)},
        {"classes": True},
    ],
)
def test_impossible_parameters_are_refused_by_name(parameters: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(parameters))):
        Cellular(**parameters)  # type: ignore[arg-type]
