"""The source that is exported is well formed, safe, and computes what our own module computes."""

import ast
import random
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import search_spaces
from nas.export.python_code import render
from nas.export.python_rules import FORWARD
from search_spaces import Architecture, to_module
from search_spaces.builder import GraphBuilder
from search_spaces.errors import UserError
from search_spaces.graph import Cell, Graph, Node, node_shapes
from search_spaces.ops import (
    ACTIVATION_KINDS,
    LEAF_OPERATIONS,
    PADDING_MODES,
    UPSAMPLE_KINDS,
    Activation,
    AdaptivePool,
    Add,
    BatchNorm,
    ChannelShuffle,
    ChannelSlice,
    Concat,
    Conv,
    Dropout,
    Embedding,
    Flatten,
    GlobalPool,
    Identity,
    Input,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    Multiply,
    Operation,
    Pool,
    Shape,
    Upsample,
    Zero,
    conv2d,
)
from tests.strategies import architectures

SIXTEEN = (2, 9, 8)
HOSTILE = (
    '"""',
    '""" + __import__("os").system("true") + """',
    'ends in a quote"',
    '"""""',
    "ends in a backslash\\",
    "\\",
    '\\"""\nimport os\n"""',
    "first\nsecond\r\nthird\u2028fourth",
    "# -*- coding: utf-7 -*-",
    "null \x00, bell \x07, right-to-left \u202e, lone surrogate \ud800",
    "\\N{BULLET} \\x41 {braces} %s",
    "语" * 200,
    "long " * 60,
    "unbroken" * 40,
)


def load_source(source: str) -> ModuleType:
    module = ModuleType("model")
    exec(compile(source, "model.py", "exec", dont_inherit=True), module.__dict__)
    return module


def chain(shape: Shape, *operations: tuple[str, Operation]) -> Architecture:
    builder = GraphBuilder()
    return Architecture(builder.graph(builder.chain(builder.input(), *operations)), (shape,))


def inputs_of(architecture: Architecture, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(8, *shape, generator=generator) for shape in architecture.input_shapes]


def as_tuple(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def check_same(architecture: Architecture, source: str) -> None:
    """The source's network has our weights' names, and with our weights it gives our outputs."""
    torch.manual_seed(0)
    ours = to_module(architecture)
    theirs: nn.Module = load_source(source).Network()
    assert set(theirs.state_dict()) == set(ours.state_dict())
    with torch.no_grad():
        for seed in (1, 2, 3):  # An uncalibrated batch norm would hide most of what stands before it.
            ours.train()(*inputs_of(architecture, seed))
        theirs.load_state_dict(ours.state_dict())
        inputs = inputs_of(architecture, 4)
        expected, found = as_tuple(ours.eval()(*inputs)), as_tuple(theirs.eval()(*inputs))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= 1e-6 * max(1.0, float(other.abs().max()))


def check_style(directory: Path) -> None:
    for command in (["format", "--check", "--diff"], ["check", "--select", "E,F,W,I"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", "--line-length", "120", directory]
        ended = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def sampled(count: int) -> list[Architecture]:
    spaces = [
        search_spaces.load("nasbench201", input_shape=(3, 8, 8), cells_per_stage=2),
        search_spaces.load("cellular", input_shape=(1, 8, 8)),
        search_spaces.load("cellular", input_shape=(3, 16, 16), classes=7),
    ]
    return [space.sample(rng=random.Random(seed)) for seed in range(count) for space in spaces]


def test_every_operation_has_a_rule() -> None:
    missing = [operation.__name__ for operation in LEAF_OPERATIONS if operation not in FORWARD]
    assert missing == [Input.__name__], "an input is an argument of forward; all else needs a rule"


def test_an_operation_without_a_rule_is_named() -> None:
    @dataclass(frozen=True, slots=True)
    class Mystery(Operation):
        def output_shape(self, *inputs: Shape) -> Shape:
            return inputs[0]

    with pytest.raises(NotImplementedError, match="Mystery"):
        render(chain((1, 4), ("a", Mystery())), title="t")


def single_operations() -> Iterator[tuple[Operation, Shape]]:
    yield from ((Activation(kind), (2, 5, 4)) for kind in ACTIVATION_KINDS)
    for sizes in ((9,), (9, 8)):
        shape = (4, *sizes)
        ones, twos = (1,) * len(sizes), (2,) * len(sizes)
        yield Conv(6, (3, 2)[: len(sizes)]), shape
        yield Conv(6, (3, 3)[: len(sizes)], twos, ((1, 1), (1, 1))[: len(sizes)], twos, groups=2, bias=True), shape
        yield Conv(5, (2, 3)[: len(sizes)], ones, ((0, 1), (2, 1))[: len(sizes)], bias=True), shape
        for mode in PADDING_MODES:
            yield Conv(5, (3, 3)[: len(sizes)], twos, ((1, 1), (1, 1))[: len(sizes)], padding_mode=mode), shape
            yield Conv(5, (3, 3)[: len(sizes)], padding=((2, 1), (0, 1))[: len(sizes)], padding_mode=mode), shape
        for kind in UPSAMPLE_KINDS:
            yield Upsample(3, kind), shape
        yield LocalResponseNorm(3), shape
        yield LocalResponseNorm(2, alpha=0.5, beta=0.5, k=2.0), shape
        yield ChannelShuffle(2), shape
        yield ChannelSlice(0, 3), shape
        yield ChannelSlice(1, 3), shape
        for kind in ("average", "max"):
            yield Pool(kind, (2, 3)[: len(sizes)], (3, 2)[: len(sizes)], ceil_mode=True), shape
            yield Pool(kind, (2, 3)[: len(sizes)]), shape
            yield Pool(kind, (3, 2)[: len(sizes)], twos, ones, count_include_pad=True), shape
            yield Pool(kind, (3, 2)[: len(sizes)], (1, 2)[: len(sizes)], ones), shape
            yield GlobalPool(kind), shape
            yield AdaptivePool(kind, (4, 12)[: len(sizes)]), shape
            yield AdaptivePool(kind, (3, 3)[: len(sizes)]), shape
    for shape in ((6,), (6, 5), (6, 5, 4)):
        yield BatchNorm(), shape
        yield BatchNorm(affine=False, epsilon=1e-3), shape
        yield LayerNorm(), shape
        yield LayerNorm(affine=False, epsilon=1e-5), shape
        yield Identity(), shape
        yield Zero(), shape
        yield Zero((3, 2)), shape
        yield Zero(shape), shape
        yield Flatten(), shape
        yield Dropout(0.25), shape
    yield Linear(3), (5,)
    yield Linear(3, bias=False), (5,)


def test_every_operation_alone_computes_the_same(tmp_path: Path) -> None:
    seen = set()
    for number, (operation, shape) in enumerate(single_operations()):
        source = render(chain(shape, ("node", operation)), title=str(operation))
        check_same(chain(shape, ("node", operation)), source)
        (tmp_path / f"model{number}.py").write_text(source)
        seen.add(type(operation))
    assert seen == set(LEAF_OPERATIONS) - {Input, Embedding, Add, Multiply, Concat}
    check_style(tmp_path)


def test_an_embedding_looks_up_the_same(tmp_path: Path) -> None:
    architecture = chain((6,), ("table", Embedding(20, 4)), ("conv", Conv(3, (2,))))
    (tmp_path / "model.py").write_text(source := render(architecture, title="t"))
    check_style(tmp_path)
    ours, theirs = to_module(architecture), load_source(source).Network()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randint(0, 20, (2, 6))
    assert torch.equal(ours(x), theirs(x))


def test_random_networks_of_the_spaces_compute_the_same(tmp_path: Path) -> None:
    for number, architecture in enumerate(sampled(6)):
        shape = str(architecture.input_shapes)
        for form in (architecture, architecture.flatten(), architecture.simplified()):
            source = render(form, title=f"Network {number}.", notes=[f"key: {architecture.key}", f"input: {shape}"])
            if form is not architecture.simplified():
                check_same(form, source)
            (tmp_path / f"model{number}_{len(list(tmp_path.iterdir()))}.py").write_text(source)
    check_style(tmp_path)


@settings(max_examples=60, deadline=None)
@given(architectures(inputs=3, outputs=3))
def test_random_graphs_compute_the_same(architecture: Architecture) -> None:
    check_same(architecture, render(architecture, title="t"))
    check_same(architecture.flatten(), render(architecture.flatten(), title="t"))


def test_random_graphs_are_formatted(tmp_path: Path) -> None:
    @settings(max_examples=60, deadline=None, database=None)
    @given(architectures(inputs=3, outputs=3, steps=10))
    def write(architecture: Architecture) -> None:
        (tmp_path / f"model_{architecture.key}.py").write_text(render(architecture, title="t", notes=["note"]))

    write()
    assert len(list(tmp_path.iterdir())) > 20
    check_style(tmp_path)


def test_long_lines_are_broken_as_a_formatter_would(tmp_path: Path) -> None:
    for count in (2, 7, 9, 11, 13, 40):
        for join in (Add(), Multiply(), Concat()):
            builder = GraphBuilder()
            arms = [builder.add(f"branch_number_{n}", conv2d(2, 3), builder.input(f"image_{n}")) for n in range(count)]
            joined = builder.add("join", join, *arms)
            graph = builder.graph(*arms, joined, names=tuple(f"y{n}" for n in range(count + 1)))
            architecture = Architecture(graph, ((2, 4, 4),) * count)
            source = render(architecture, title="t")
            check_same(architecture, source)
            (tmp_path / f"model_{type(join).__name__}{count}.py").write_text(source)
    wide = Conv(4, (3, 2), (2, 1), ((2, 2), (0, 0)), (1, 2), groups=2)
    name = "a_rather_long_name_for_a_convolution_of_a_network"
    (tmp_path / "wide.py").write_text(render(chain((2, 9, 9), (name, wide), (name + "2", wide)), title="t"))
    check_style(tmp_path)


def distinct_cells(graph: Graph, input_shapes: tuple[Shape, ...]) -> set[tuple[Cell, tuple[Shape, ...]]]:
    shapes = node_shapes(graph, input_shapes)
    found = set()
    for node in graph.nodes:
        if isinstance(node.operation, Cell):
            given_shapes = tuple(shapes[source] for source in node.inputs)
            found |= {(node.operation, given_shapes)} | distinct_cells(node.operation.body, given_shapes)
    return found


def test_a_cell_is_one_class_however_often_it_stands_there() -> None:
    for architecture in sampled(4):
        tree = ast.parse(render(architecture, title="t"))
        classes = [item.name for item in tree.body if isinstance(item, ast.ClassDef)]
        assert len(classes) == len(set(classes))
        assert len(classes) == len(distinct_cells(architecture.graph, architecture.input_shapes)) + 1


def test_classes_are_named_after_their_family() -> None:
    architecture = search_spaces.load("nasbench201", cells_per_stage=2).from_arch_str(
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
    )
    module = load_source(render(architecture, title="t"))
    names = {name for name, item in vars(module).items() if isinstance(item, type) and item.__module__ == "model"}
    assert {"Network", "StemCell", "HeadCell", "StageCell3", "Nasbench201Cell", "Nasbench201Cell3"} < names
    assert "NorConv1x1Cell3" in names and "Nasbench201Cell4" not in names


def test_the_text_is_the_same_each_time() -> None:
    for architecture in sampled(2):
        again = Architecture.from_json(architecture.to_json())
        assert render(again, title="t", notes=["n"]) == render(architecture, title="t", notes=["n"])


def test_it_imports_torch_alone() -> None:
    for architecture in sampled(2):
        tree = ast.parse(render(architecture, title="t"))
        imported = {
            name.partition(".")[0]
            for item in tree.body
            if isinstance(item, ast.Import | ast.ImportFrom)
            for name in ([item.module or ""] if isinstance(item, ast.ImportFrom) else [a.name for a in item.names])
        }
        assert imported == {"torch", "pathlib"}


def test_shapes_are_in_comments() -> None:
    source = render(chain((1, 8, 8), ("conv", conv2d(4, 3, stride=2)), ("pool", GlobalPool())), title="t")
    assert "x = self.conv(x)  # (N, 4, 4, 4)\n" in source
    assert "x = F.adaptive_avg_pool2d(x, 1)  # (N, 4, 1, 1)\n" in source


def test_a_residual_cell_reads_as_a_person_would_write_it() -> None:
    builder = GraphBuilder()
    x = builder.input()
    inner = builder.chain(x, ("conv", conv2d(4, 3)), ("norm", BatchNorm()))
    total = builder.add("sum", Add(), inner, builder.add("projection", conv2d(4, 1), x))
    graph = builder.graph(builder.add("relu", Activation("relu"), total))
    source = render(Architecture(graph, ((2, 4, 4),)), title="t")
    lines = [line.partition("  #")[0].strip() for line in source.partition("def forward")[2].splitlines()[1:7]]
    assert lines == [
        "y = self.conv(x)",
        "y = self.norm(y)",
        "projection = self.projection(x)",
        "x = y + projection",
        "x = F.relu(x)",
        "return x",
    ]


def test_dropout_drops_in_training_only() -> None:
    network = load_source(render(chain((50,), ("drop", Dropout(0.5))), title="t")).Network()
    x = torch.ones(1, 50)
    assert torch.equal(network.eval()(x), x)
    assert set(network.train()(x).unique().tolist()) == {0.0, 2.0}


def cleaned(text: str) -> str:
    """What a docstring shows of a text: blanks run together, signs that have no print escaped."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line).replace(" ", "")


def check_docstring(title: str, notes: list[str]) -> str:
    architecture = chain((3,), ("linear", Linear(2)))
    source = render(architecture, title=title, notes=notes)
    tree, plain = ast.parse(source), ast.parse(render(architecture, title="t"))
    shown = ast.get_docstring(tree, clean=False)
    assert shown is not None
    assert "".join(shown.split()) == cleaned(title.strip() or "Network.") + "".join(map(cleaned, notes))
    assert ast.dump(ast.Module(tree.body[1:], [])) == ast.dump(ast.Module(plain.body[1:], []))
    source.encode("utf-8")
    return source


def test_hostile_texts_stay_in_the_docstring(tmp_path: Path) -> None:
    for number, text in enumerate(HOSTILE):
        for title, notes in ((text, []), ("title", [text]), (text, [text, "plain", text]), ("", [text])):
            source = check_docstring(title, notes)
            (tmp_path / f"model{number}_{len(notes)}_{len(title)}.py").write_text(source, encoding="utf-8")
    check_style(tmp_path)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters() | st.sampled_from('"\\\n #'), max_size=300), st.lists(st.text('"\\ a\n'), max_size=3))
def test_any_text_stays_in_the_docstring(title: str, notes: list[str]) -> None:
    check_docstring(title, notes)


def test_hostile_families_and_output_names_do_not_become_code() -> None:
    families = ("", "Network", "network", "F", "nn", "7", "x):\n import os", '"""', "日本", "residual", "Residual", "é")
    builder = GraphBuilder()
    value = builder.input()
    for family in families:
        inner = GraphBuilder()
        body = inner.chain(inner.input(), (f"conv{len(family)}", conv2d(2, 1)), ("norm", BatchNorm(epsilon=1e-4)))
        value = builder.add("cell", inner.cell(family, body), value)
    graph = builder.graph(value, names=('"""\nimport os\n"""',))
    architecture = Architecture(graph, ((2, 4, 4),))
    source = render(architecture, title="t")
    assert "import os" not in source
    check_same(architecture, source)


AWKWARD = (
    *("half", "forward", "type", "eval", "_modules", "_parameters", "T_destination", "state_dict"),
    *("self", "torch", "nn", "F", "Tensor", "x", "y", "l", "O", "sum", "load", "Network", "_", "match"),
    *("__private", "__dunder__", "_hidden", unicodedata.lookup("LATIN SMALL LIGATURE FI") + "ne", "größe", "变量"),
)


@pytest.mark.parametrize("name", AWKWARD)
def test_a_name_that_python_or_torch_uses_keeps_its_weights_name(name: str) -> None:
    inner = GraphBuilder()
    cell = inner.cell("inner", inner.add(name, conv2d(2, 3), inner.input(name + "_")))
    builder = GraphBuilder()
    value = builder.input()
    first = builder.add(name, conv2d(2, 1, bias=True), value)
    second = builder.add("cell", cell, value)
    third = builder.add(f"holder.{name}.{name}", conv2d(2, 1), first)
    architecture = Architecture(builder.graph(builder.add("end", Add(), third, second, value)), ((2, 4, 4),))
    check_same(architecture, render(architecture, title="t"))


def test_inputs_of_any_name_and_none_used() -> None:
    builder = GraphBuilder()
    names = ("self", "torch", "F", "sum", "x", "image")
    inputs = [builder.input(name) for name in names]
    graph = builder.graph(builder.add("add", Add(), inputs[0], inputs[5], inputs[0]), inputs[2], names=("a", "b"))
    architecture = Architecture(graph, ((2,),) * len(names))
    check_same(architecture, render(architecture, title="t"))


def test_the_name_training_is_refused_where_it_needs_a_module() -> None:
    with pytest.raises(UserError, match=r"'training' cannot be written as Python: .*rename"):
        render(chain((2, 4, 4), ("training", conv2d(2, 1))), title="t")
    fine = chain((2, 4, 4), ("training", Activation("relu")))
    check_same(fine, render(fine, title="t"))


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_a_number_that_python_cannot_write_is_refused(number: float) -> None:
    with pytest.raises(UserError, match="finite"):
        render(chain((2, 4, 4), ("norm", BatchNorm(epsilon=number))), title="t")


def test_names_that_verify_refuses_never_arrive() -> None:
    for name in ("import", "a b", "x)", "a..b", "", "a\nb", "1a", 'a"'):
        graph = Graph((Node("x", Input()), Node(name, Linear(1), (0,))), (("y", 1),))
        with pytest.raises(UserError, match="rule names"):
            Architecture(graph, ((2,),))
