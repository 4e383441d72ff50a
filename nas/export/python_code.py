"""Writes an architecture as a stand-alone PyTorch source file, as a person would write it.

Every distinct pair of a cell and its input shapes is one class, the whole is `Network`, and `load` makes a network
with the weights of a safetensors file. The names in the state dict are those of `search_spaces.to_module`. Nothing of
an architecture but verified identifiers and numbers becomes code; free text goes into docstrings, escaped.
"""

import re
from collections import Counter
from collections.abc import Iterable

from torch import nn

from nas.export.python_forward import plan_forward
from nas.export.python_layout import INDENT, Bracketed, Expression, call, docstring, functions_called, statement
from nas.export.python_rules import FORWARD, LAYERS
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError
from search_spaces.graph import Cell, Graph, Node, node_shapes
from search_spaces.ops import Shape

_LOAD = '''\
def load(weights: str | Path) -> Network:
    """The network with the weights of a safetensors file, ready for inference."""
    from safetensors.torch import load_file

    network = Network()
    network.load_state_dict(load_file(weights))
    return network.eval()
'''

_TORCH_NAMES = frozenset(dir(nn.Module()))
"""What every module has; a node of such a name would hide it, or be hidden."""


def render(architecture: Architecture, *, title: str, notes: Iterable[str] = ()) -> str:
    """The source of a Python file that defines `Network` and `load`; it imports torch, and safetensors inside `load`.

    `title` and `notes` make its docstring, each note a line of its own. The text is the same each time.

    Raises:
        UserError: a node's name or a number cannot be written as Python.
    """
    writer = _Writer()
    writer.write("Network", architecture.graph, architecture.input_shapes)
    header = "\n".join(docstring(title.strip() or "Network.", notes, depth=0))
    classes = "\n\n\n".join(writer.classes)
    return f"{header}\n\n{writer.imports()}\n\n\n{classes}\n\n\n{_LOAD}"


class _Writer:
    """Writes the classes of a file, those of inner cells before those that hold them."""

    def __init__(self) -> None:
        self.classes: list[str] = []
        self._names: dict[tuple[Cell, tuple[Shape, ...]], str] = {}
        self._family_counts: Counter[str] = Counter()
        self._libraries: set[str] = set()

    def imports(self) -> str:
        """The lines that import what the classes so far use."""
        lines = ["from pathlib import Path", ""]
        if "torch" in self._libraries:
            lines.append("import torch")
        if "F" in self._libraries:
            lines.append("import torch.nn.functional as F")
        return "\n".join([*lines, "from torch import Tensor, nn"])

    def write(self, name: str, graph: Graph, input_shapes: tuple[Shape, ...]) -> None:
        """Adds the class of a graph, after those of its cells that are not there yet."""
        shapes = node_shapes(graph, input_shapes)
        takes = ", ".join(map(_text_of_shape, input_shapes))
        gives = ", ".join(_text_of_shape(shapes[index]) for _, index in graph.outputs)
        lines = [f"class {name}(nn.Module):", *docstring(f"Takes {takes}, gives {gives}.", depth=1)]
        layers = self._layers(graph, shapes)
        if layers:
            lines += ["", f"{INDENT}def __init__(self) -> None:", f"{INDENT * 2}super().__init__()", *layers]
        self.classes.append("\n".join([*lines, "", *self._forward(graph, shapes)]))

    def _layers(self, graph: Graph, shapes: tuple[Shape, ...]) -> list[str]:
        """The lines that make the modules; a path of names (`stage1.cell0.conv`) gets plain modules to hold its end."""
        lines = []
        holders: set[str] = set()
        for node in graph.nodes:
            inputs = tuple(shapes[source] for source in node.inputs)
            module = self._module(node, inputs)
            if module is None:
                continue
            *holding, _ = node.name.split(".")
            for length in range(1, len(holding) + 1):
                holder = ".".join(holding[:length])
                if holder not in holders:
                    holders.add(holder)
                    lines.append(f"{INDENT * 2}{_attribute(holder)} = nn.Module()")
            lines += statement(f"{_attribute(node.name)} = ", module, depth=2)
        return lines

    def _module(self, node: Node, input_shapes: tuple[Shape, ...]) -> Expression | None:
        """What constructs the node's module, or None where it needs none."""
        if isinstance(node.operation, Cell):
            return call(self._cell_class(node.operation, input_shapes))
        rule = LAYERS.get(type(node.operation))
        return rule(node.operation, input_shapes[0]) if rule else None

    def _cell_class(self, cell: Cell, input_shapes: tuple[Shape, ...]) -> str:
        if (cell, input_shapes) not in self._names:
            family = _class_name(cell.family)
            self._family_counts[family] += 1
            number = self._family_counts[family]
            self._names[cell, input_shapes] = family if number == 1 else f"{family}{number}"
            self.write(self._names[cell, input_shapes], cell.body, input_shapes)
        return self._names[cell, input_shapes]

    def _forward(self, graph: Graph, shapes: tuple[Shape, ...]) -> list[str]:
        plan = plan_forward(graph)
        arguments = tuple(f"{name}: Tensor" for name in plan.parameters)
        count = len(plan.results)
        parts = ", ".join(["Tensor"] * count) if count <= 4 else "Tensor, ..."
        result = "Tensor" if count == 1 else f"tuple[{parts}]"
        lines = statement("", call("def forward", "self", *arguments), depth=1, suffix=f" -> {result}:")
        for line in plan.lines:
            inputs = tuple(shapes[source] for source in line.sources)
            expression = _result(graph.nodes[line.index], inputs, line.arguments)
            self._libraries.update(name.partition(".")[0] for name in functions_called(expression))
            comment = _text_of_shape(shapes[line.index])
            lines += statement(f"{line.target} = ", expression, depth=2, comment=comment)
        results = ", ".join(plan.results)
        if len(results) > 100:
            return [*lines, *statement("return ", Bracketed("(", plan.results), depth=2)]
        return [*lines, f"{INDENT * 2}return {results}"]


def _result(node: Node, input_shapes: tuple[Shape, ...], arguments: tuple[str, ...]) -> Expression:
    """What a node gives for the values in these variables."""
    operation = node.operation
    if isinstance(operation, Cell):
        return call(_attribute(node.name), *arguments)
    rule = FORWARD.get(type(operation))
    if rule is None:
        raise NotImplementedError(f"no rule for {type(operation).__name__}; add one to FORWARD")
    module = _attribute(node.name) if type(operation) in LAYERS else ""
    return rule(operation, input_shapes, module, arguments)


def _text_of_shape(shape: Shape) -> str:
    return f"({', '.join(('N', *map(str, shape)))})"


def _class_name(family: str) -> str:
    """The name for a cell's class, from whatever text its family is; it always ends in `Cell`."""
    words = re.findall(r"[A-Za-z0-9]+", family)
    name = "".join(word[0].upper() + word[1:] for word in words)[:40].lstrip("0123456789")
    return name if name.endswith("Cell") else f"{name}Cell"


def _attribute(path: str) -> str:
    """The module of a node as source; a name that would hide what torch's modules need is looked up by its text."""
    text = "self"
    for part in path.split("."):
        if part == "training":
            raise UserError(f"the node {path!r} cannot be written as Python: torch's modules use `training`; rename it")
        text += f".{part}" if _is_plain(part) else f'._modules["{part}"]'
    return text


def _is_plain(name: str) -> bool:
    # Python normalises other alphabets in source, and mangles two underscores inside a class.
    return name.isascii() and not name.startswith("__") and name not in _TORCH_NAMES
