"""Drawings: everything is in them, in its place, readable, and the same each time."""

import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings

import search_spaces
from analysis import analyze
from analysis.drawing import draw
from analysis.drawing.layered_layout import lay_out
from analysis.drawing.page import compose
from analysis.drawing.svg import COLOURS
from search_spaces import Architecture, zoo
from search_spaces.builder import GraphBuilder
from search_spaces.graph import Cell, flatten
from search_spaces.ops import Add, BatchNorm, Input, Linear, conv2d
from tests.analysis.drawing_laws import check_places, check_texts
from tests.analysis.drawn_network import DrawnBox, DrawnNetwork, read_drawing
from tests.strategies import architectures

SAMPLES = [("nasbench201", 0), *(("cellular", seed) for seed in range(6))]


@pytest.fixture(scope="module", params=[*zoo.names(), *(f"{space}:{seed}" for space, seed in SAMPLES)])
def network(request: pytest.FixtureRequest) -> Architecture:
    """The networks of the zoo, and some of search spaces."""
    name, _, seed = request.param.partition(":")
    if seed:
        return search_spaces.load(name).sample(rng=random.Random(int(seed)))
    return zoo.load(name)


@pytest.fixture(scope="module", params=[False, True], ids=["folded", "unfolded"])
def drawn(request: pytest.FixtureRequest, network: Architecture) -> DrawnNetwork:
    return read_drawing(draw(network, unfold=request.param))


def test_every_operation_is_drawn(drawn: DrawnNetwork, network: Architecture) -> None:
    assert drawn.operations(drawn.network) == operation_count(network)


def test_the_boxes_cost_what_the_network_costs(drawn: DrawnNetwork, network: Architecture) -> None:
    report = analyze(network)
    assert sum(box.params for box in drawn.network.boxes) == report.params
    assert sum(box.macs for box in drawn.network.boxes) == report.macs
    frames = [box for diagram in drawn.diagrams() for box in diagram.all_boxes() if box.inner is not None]
    for frame in frames:
        assert frame.inner is not None
        if frame.times == 1:
            assert sum(box.params for box in frame.inner.boxes) == frame.params


def test_everything_has_its_place(drawn: DrawnNetwork) -> None:
    check_places(drawn)


def test_text_fits(drawn: DrawnNetwork) -> None:
    check_texts(drawn)


def test_a_page_has_the_shape_of_a_page(drawn: DrawnNetwork) -> None:
    assert 0.25 < drawn.width / drawn.height < 2.6


def test_folded_networks_fit_a_page(network: Architecture) -> None:
    drawn = read_drawing(draw(network))
    assert drawn.width <= 2_900 and drawn.height <= 2_600
    assert sum(len(list(diagram.all_boxes())) for diagram in drawn.diagrams()) <= 100


def test_each_letter_has_an_inset_and_each_inset_is_used(network: Architecture) -> None:
    drawn = read_drawing(draw(network))
    letters = {box.letter for diagram in drawn.diagrams() for box in diagram.all_boxes() if box.letter}
    assert letters == set(drawn.insets)


@settings(max_examples=40, deadline=None)
@given(architectures(inputs=2, outputs=3))
def test_random_networks_are_drawn_wholly(architecture: Architecture) -> None:
    for unfold in (False, True):
        drawn = read_drawing(draw(architecture, unfold=unfold))
        assert drawn.operations(drawn.network) == operation_count(architecture)
        assert sum(box.params for box in drawn.network.boxes) == analyze(architecture).params
        check_places(drawn)
        check_texts(drawn)


@settings(max_examples=40, deadline=None)
@given(architectures(inputs=2, outputs=2))
def test_unfolded_each_operation_tells_its_path(architecture: Architecture) -> None:
    drawn = read_drawing(draw(architecture, unfold=True))
    told = Counter(
        path(box) for box in drawn.network.all_boxes() if box.inner is None and box.kind not in ("port", "end")
    )
    told.update(row.tooltip.partition(":")[0] for box in drawn.network.all_boxes() for row in box.rows)
    names = [node.name for node in flatten(architecture.graph).nodes if not isinstance(node.operation, Input)]
    stacks = {path(box) for box in drawn.network.all_boxes() if box.rows}
    assert told == Counter(names) + Counter(stacks)


@settings(max_examples=40, deadline=None)
@given(architectures(inputs=2, outputs=3))
def test_edges_are_as_many_as_values_that_are_read(architecture: Architecture) -> None:
    drawn = read_drawing(draw(architecture.flatten(), unfold=True))
    graph = architecture.flatten().graph
    assert len(drawn.network.edges) == sum(len(node.inputs) for node in graph.nodes) + len(graph.outputs)


def test_resnet152_folded_is_two_cells_and_their_numbers() -> None:
    drawn = read_drawing(draw(zoo.load("resnet152")))
    assert set(drawn.insets) == {"A", "B"}
    assert sum(len(list(diagram.all_boxes())) for diagram in drawn.diagrams()) <= 45
    assert [box.times for box in drawn.network.all_boxes() if box.letter == "B"] == [2, 7, 35, 2]
    strided = [box for box in drawn.network.all_boxes() if box.letter == "A"]
    differences = [tuple(text.plain for text in box.texts if text.kind == "difference") for box in strided]
    assert differences == [(), *3 * [("conv2: Conv 3x3 stride 2", "projection: Conv 1x1 stride 2")]]
    assert drawn.width < 1_500 and drawn.height < 1_200


def test_googlenet_folded_draws_the_inception_module_once() -> None:
    drawn = read_drawing(draw(zoo.load("googlenet")))
    assert set(drawn.insets) == {"A"}
    assert sum(box.letter == "A" for box in drawn.network.boxes) == 9
    body = drawn.insets["A"].diagram
    assert {name(box) for box in body.boxes} == {
        *("x", "conv1x1", "reduce3x3", "conv3x3", "reduce5x5", "conv5x5", "pool", "projection", "concat")
    }
    assert len(body.edges) == 11
    auxiliary = read_drawing(draw(zoo.load("googlenet", auxiliary=True)))
    outputs = [name(box) for box in auxiliary.network.boxes if box.tooltip.startswith("output")]
    assert outputs == ["y", "auxiliary1", "auxiliary2"]


def test_dilations_of_one_cell_are_told_in_the_boxes() -> None:
    drawn = read_drawing(draw(zoo.load("wavenet")))
    assert set(drawn.insets) == {"A"}
    gated = [box for box in drawn.network.boxes if box.letter == "A"]
    told = [text.plain for box in gated for text in box.texts if text.kind == "difference"]
    assert told == [f"filter, gate: Conv 2 dilation {2**power}" for power in range(1, 10)]


def test_widths_of_depthwise_convolutions_are_no_difference() -> None:
    mobilenet = read_drawing(draw(zoo.load("mobilenet_v2")))
    assert set(mobilenet.insets) == {"A", "B"}
    rows = [row.text.plain for box in mobilenet.insets["B"].diagram.boxes for row in box.rows]
    assert rows.count("Conv 3x3 depthwise") == 1


def test_chains_that_come_again_are_folded_though_a_part_of_them_is() -> None:
    drawn = read_drawing(draw(zoo.load("efficientnet_b0")))
    assert [inset.title.plain for inset in drawn.insets.values()] == [
        "squeeze_excitation, as in stage1.cell0.squeeze_excitation",
        "inverted_residual, as in stage2.cell0",
        "inverted_residual, as in stage2.cell1",
    ]


def test_insets_stand_in_columns_beside_a_tall_network() -> None:
    page = compose(lay_out(((100.0, 300.0),), ()), [(100.0, 130.0)] * 3)
    assert page.height == 300
    assert [x > 100 for x, _ in page.insets] == [True] * 3
    assert len({x for x, _ in page.insets}) == 2


def test_cells_that_differ_in_much_have_insets_of_their_own() -> None:
    builder = GraphBuilder()
    value = builder.input()
    for number, kernels in enumerate(((1, 3, 5), (1, 3, 5), (7, 5, 3))):
        value = builder.add(f"cell{number}", branching_cell(kernels), value)
        value = builder.add(f"norm{number}", BatchNorm(), value)
    drawn = read_drawing(draw(Architecture(builder.graph(value), ((4, 9, 9),))))
    assert [box.letter for box in drawn.network.boxes if box.letter] == ["A", "A", "B"]


def test_equal_cells_that_are_read_in_between_are_no_run() -> None:
    builder = GraphBuilder()
    value = builder.input()
    cell = branching_cell((1, 3, 5))
    first = builder.add("first", cell, value)
    second = builder.add("second", cell, first)
    third = builder.add("third", cell, second)
    end = builder.add("sum", Add(), first, third)
    drawn = read_drawing(draw(Architecture(builder.graph(end), ((4, 9, 9),))))
    assert [(name(box), box.times) for box in drawn.network.boxes if box.letter] == [
        ("first", 1),
        ("second … third", 2),
    ]


def test_names_and_titles_are_escaped() -> None:
    builder = GraphBuilder()
    body = branching_cell((1, 3, 5)).body
    value = builder.add("größe", Cell('a<b>&"c"\u0007', body), builder.input("entrée"))
    architecture = Architecture(builder.graph(value, names=("<y> & z",)), ((4, 9, 9),))
    for unfold in (False, True):
        drawn = read_drawing(draw(architecture, unfold=unfold, title="1 < 2 & 'x'\x00"))
        assert drawn.title == "1 < 2 & 'x'\ufffd"
        texts = [text.plain for box in drawn.network.boxes for text in box.texts]
        assert 'größe a<b>&"c"\ufffd' in texts
        assert "<y> & z 4x9x9" in texts
        check_texts(drawn)


def test_text_can_be_read_on_every_colour() -> None:
    # The contrast that the Web Content Accessibility Guidelines 2.2 ask for at level AAA (success criterion 1.4.6).
    style = draw(zoo.load("lenet5"))
    for selector, ground in [*((".drawing text", colour) for colour in COLOURS.values()), ("text.bare", "#16191d")]:
        found = re.search(rf"{re.escape(selector)} {{ fill: (#\w+)", style)
        assert found is not None and contrast(found[1], ground) >= 7


def test_long_names_are_cut() -> None:
    builder = GraphBuilder()
    value = builder.add("n" * 500, Linear(3), builder.input())
    drawn = read_drawing(draw(Architecture(builder.graph(value), ((4,),)), title="t" * 500))
    assert drawn.width < 1_000 and drawn.title == "t" * 500
    assert any("n" * 500 in box.tooltip for box in drawn.network.boxes)


def test_letters_and_numbers_stand_beside_long_headings() -> None:
    builder = GraphBuilder()
    cell = branching_cell((1, 3, 5))
    value = builder.chain(builder.input(), *((f"a_cell_with_a_rather_long_name{number}", cell) for number in range(3)))
    drawn = read_drawing(draw(Architecture(builder.graph(value), ((4, 9, 9),))))
    (box,) = (box for box in drawn.network.boxes if box.letter)
    assert (box.letter, box.times) == ("A", 3)
    check_texts(drawn)


def test_a_drawing_is_the_same_each_time_in_each_process() -> None:
    code = (
        "import hashlib; from analysis.drawing import draw; from search_spaces import zoo; "
        "texts = [draw(zoo.load(name), unfold=unfold) for name in ('inception_v3', 'wavenet') for unfold in (False, True)]; "
        "print(hashlib.sha256(''.join(texts).encode()).hexdigest())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def test_large_networks_are_drawn_in_seconds() -> None:
    resnet = zoo.load("resnet152")
    for architecture in (resnet, resnet.flatten(), zoo.load("densenet201").flatten()):
        start = time.perf_counter()
        drawn = read_drawing(draw(architecture, unfold=True))
        assert time.perf_counter() - start < 10
        assert 0.7 < drawn.width / drawn.height < 2


@pytest.mark.parametrize("name", ["googlenet", "resnet152"])
def test_the_pictures_in_the_documents_are_what_is_drawn_today(name: str) -> None:
    picture = Path(__file__).parents[2] / "docs" / "pictures" / f"{name}.svg"
    remedy = f"nas analyze {name} --draw docs/pictures/{name}.svg"
    assert picture.read_text(encoding="utf-8") == draw(zoo.load(name), title=name), remedy


def test_one_operation_and_none() -> None:
    builder = GraphBuilder()
    passing = Architecture(builder.graph(builder.input()), ((3,),))
    assert [name(box) for box in read_drawing(draw(passing)).network.boxes] == ["x", "y"]
    single = read_drawing(draw(zoo.load("separable_pair")))
    assert single.operations(single.network) == operation_count(zoo.load("separable_pair"))


def operation_count(architecture: Architecture) -> int:
    return sum(not isinstance(node.operation, Input) for node in flatten(architecture.graph).nodes)


def branching_cell(kernels: tuple[int, ...]) -> Cell:
    """Convolutions with these kernels side by side, summed."""
    builder = GraphBuilder()
    value = builder.input()
    ends = [builder.add(f"conv{number}", conv2d(4, kernel), value) for number, kernel in enumerate(kernels)]
    return builder.cell("branching", builder.add("sum", Add(), *ends))


def contrast(first: str, second: str) -> float:
    """The ratio of two colours' relative luminances, as WCAG 2.2 defines it."""
    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def name(box: DrawnBox) -> str:
    return box.texts[0].pieces[0].text


def path(box: DrawnBox) -> str:
    return box.tooltip.partition(":")[0]
