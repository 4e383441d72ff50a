"""The NAS-Bench-201 space: its strings, its skeleton and its contract."""

import itertools

import pytest
import torch

from search_spaces import SearchSpace, to_module
from search_spaces.choices import Genotype
from search_spaces.errors import UserError
from search_spaces.spaces.cellular import Cellular
from search_spaces.spaces.nasbench201 import EDGES, OPERATIONS, NasBench201
from tests.contracts.search_space import SearchSpaceContract, sampled

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"


class TestNasBench201(SearchSpaceContract):
    @pytest.fixture
    def space(self) -> SearchSpace:
        return NasBench201()


def all_strings() -> list[str]:
    return [
        f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|" for a, b, c, d, e, f in itertools.product(OPERATIONS, repeat=6)
    ]


def test_every_string_is_read_and_rendered_back_unchanged() -> None:
    space = NasBench201(cells_per_stage=1)
    strings = all_strings()
    assert len(strings) == space.count() == 15_625
    for text in strings:
        assert space.to_arch_str(space.from_arch_str(text)) == text


def test_genotypes_and_strings_say_the_same() -> None:
    space = NasBench201()
    for elaboration in sampled(space, 50):
        text = space.arch_str_of(elaboration.genotype)
        assert space.genotype_of(text) == elaboration.genotype
        assert space.from_arch_str(text) == elaboration.architecture
        assert space.to_arch_str(elaboration.architecture) == text


@pytest.mark.parametrize(
    ("text", "params"),
    [
        # From the benchmark's own table.
        (BEST, 1_288_506),
        (BEST.replace("nor_conv_3x3~2", "nor_conv_1x1~2"), 1_073_466),
        ("|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|", 73_306),
        ("|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|", 129_306),
    ],
)
def test_parameters_are_the_published_ones(text: str, params: int) -> None:
    with torch.device("meta"):
        module = to_module(NasBench201().from_arch_str(text))
    assert sum(weight.numel() for weight in module.parameters()) == params


def test_the_skeleton_has_the_published_stages() -> None:
    architecture = NasBench201().from_arch_str(BEST)
    names = [name for name, _ in to_module(architecture).named_children()]
    assert names == ["stem", "stage1", "reduction1", "stage2", "reduction2", "stage3", "head"]
    weights = to_module(architecture).state_dict()
    for stage, channels in enumerate((16, 32, 64), start=1):
        for cell in range(5):
            for target, source in EDGES:
                if (target, source) != (3, 0):
                    name = f"stage{stage}.cell{cell}.edge_{target}_{source}.conv.weight"
                    assert weights[name].shape == (channels, channels, 3, 3)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "1 nodes"),
        ("|none~0|", "1 nodes"),
        (BEST + "+|none~0|", "4 nodes"),
        ("none~0+|none~0|none~1|+|none~0|none~1|none~2|", "node 1"),
        ("|none~0|none~1|+|none~0|none~1|+|none~0|none~1|none~2|", "node 1"),
        ("|none~0|+|none~0|+|none~0|none~1|none~2|", "node 2"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2", "node 3"),
        ("|none~0|+|none~0|conv~1|+|none~0|none~1|none~2|", "node 2 has the unknown operation 'conv'"),
        ("|none~0|+|none~0|none~0|+|none~0|none~1|none~2|", "'none~0' of node 2 must come from node 1"),
        ("|none|+|none~0|none~1|+|none~0|none~1|none~2|", "'none' of node 1 must come from node 0"),
        ("|none~00|+|none~0|none~1|+|none~0|none~1|none~2|", "'none~00' of node 1"),
        (" " + BEST, "node 1"),
    ],
)
def test_another_string_is_refused_with_the_place(text: str, what: str) -> None:
    with pytest.raises(UserError) as caught:
        NasBench201().from_arch_str(text)
    assert what in str(caught.value)


def test_an_architecture_of_another_space_has_no_string() -> None:
    space = NasBench201()
    strangers = [
        NasBench201(cells_per_stage=2).from_arch_str(BEST),
        NasBench201(channels=8).from_arch_str(BEST),
        NasBench201(classes=100).from_arch_str(BEST),
        space.from_arch_str(BEST).flatten(),
        *(elaboration.architecture for elaboration in sampled(Cellular(), 5)),
    ]
    for architecture in strangers:
        with pytest.raises(UserError, match="nasbench201"):
            space.to_arch_str(architecture)


def test_a_genotype_of_another_space_has_no_string() -> None:
    genotype = NasBench201.genotype_of(BEST)
    for values in (genotype.values[:-1], (*genotype.values[:-1], ("edge_3_2", "teleport")), (("depth", 3),)):
        with pytest.raises(UserError):
            NasBench201.arch_str_of(Genotype(values))


@pytest.mark.parametrize(
    "parameters",
    [
        {"input_shape": (3, 30, 32)},
        {"input_shape": (3, 32)},
        {"input_shape": (0, 32, 32)},
        {"classes": 0},
        {"channels": 0},
        {"cells_per_stage": 0},
        {"channels": 16.0},
        {"classes": "10"},
        {"input_shape": "big"},
    ],
)
def test_impossible_parameters_are_refused_by_name(parameters: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(parameters))):
        NasBench201(**parameters)  # type: ignore[arg-type]
