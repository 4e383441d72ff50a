"""Documents of architectures, broken at random in the ways that files get broken: by hand, by programs, by accident.

Every mutation takes a document apart and changes a little of it; some changes leave it valid. All draw from the random
numbers that they are given, so a case is known by its seed.
"""

import copy
import json
import random
import string
from collections.abc import Callable, Iterator
from typing import Any

from search_spaces import load, zoo
from search_spaces.ops import ACTIVATION_KINDS, LEAF_OPERATIONS, PADDING_MODES, POOL_KINDS, UPSAMPLE_KINDS

Document = dict[str, Any]
Mutation = Callable[[random.Random, Document], object]
"""Changes the document in place; what it cannot be applied to, it leaves as it is."""

HUGE = (1_000, 10**6, 10**9, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 10**30, 10**400)
SMALL = (-1, 0, 1, 2, 3, 7)
ODD_NUMBERS = (-(2**63), -0.0, 0.5, 1e-320, 1e308, float("nan"), float("inf"), -float("inf"), True, False)
TEXTS = (
    *("", "x", "y", "conv", "class", "two words", "a.b", ".", "a..b", "1", "\n", "\0", "größe", "ﬁ", "变量", "\ud800"),
    *("relu", "max", "zeros", "op", "cell", "n" * 300, "a" + ".a" * 50, "__class__", "../../etc/passwd", "%s{0}$"),
)
JUNK: tuple[Any, ...] = (
    *(None, *SMALL, *HUGE, *ODD_NUMBERS, *TEXTS),
    *([], {}, [[]], [0], [[0, 0]], [1, 1], {"op": "Identity"}, {"cell": 0}, ["x", {"op": "Input"}, []], [None] * 3),
)
KINDS = (*ACTIVATION_KINDS, *POOL_KINDS, *UPSAMPLE_KINDS, *PADDING_MODES)
OPERATIONS = (
    *(operation.__name__ for operation in LEAF_OPERATIONS),
    "Cell",
    "Operation",
    "Choice",
    "conv",
    "Conv3d",
    "",
)
FIELDS: dict[str, Any] = {
    "out_channels": SMALL,
    "kernel": ([1], [3], [1, 1], [3, 3], [2, 5], [], [1, 1, 1], [0, 0], 3),
    "stride": ([1], [2], [1, 1], [2, 2], [1, 3], [], [0, 0], [-1, 1]),
    "padding": ([[1, 1], [1, 1]], [[0, 2], [1, 0]], [[1, 1]], [1, 1], [0], [[9, 9], [9, 9]], [[-1, 0], [0, 0]]),
    "dilation": ([1, 1], [2, 2], [4], [0, 1]),
    "groups": (1, 2, 3, 4, 16),
    "bias": (True, False, 1),
    "padding_mode": PADDING_MODES,
    "kind": KINDS,
    "count_include_pad": (True, False),
    "ceil_mode": (True, False),
    "output_size": ([1], [1, 1], [7, 7], [2, 3], [0, 1], []),
    "factor": SMALL,
    "out_features": SMALL,
    "rows": SMALL,
    "features": SMALL,
    "affine": (True, False),
    "epsilon": (1e-5, 0, -1, 1e400),
    "size": SMALL,
    "alpha": (0.1, 0),
    "beta": (0.75,),
    "k": (1, 2.0),
    "probability": (0, 0.5, 1, 2, -0.1),
    "shape": ([4], [4, 8, 8], [], [0], [[4]]),
    "start": (0, 1, -1),
    "stop": (1, 2, 4),
}
"""What a field of an operation may be made to hold, about half of it right somewhere."""


def documents() -> list[str]:
    """Texts of real documents: networks of the zoo, small ones more than once, and members of the spaces."""
    light = ("lenet5", "separable_pair", "character_cnn", "alexnet", "vgg11_bn", "wavenet", "resnet18")
    networks = [zoo.load(name) for name in (*light, *light, "googlenet", "densenet100_bc", "mobilenet_v2", "resnet152")]
    networks += [zoo.load("googlenet", auxiliary=True), zoo.load("efficientnet_b0", classes=3)]
    networks += [network.convolutionalized() for network in networks[:4]] + [networks[0].flatten()]
    for name, settings in (("nasbench201", {"cells_per_stage": 1}), ("cellular", {"input_shape": (1, 8, 8)})):
        space = load(name, **settings)
        networks += [space.sample(rng=random.Random(seed)) for seed in range(8)]
    return [network.to_json() for network in networks]


def mutated(rng: random.Random, originals: list[str]) -> bytes:
    """A file: one of the originals with one to four things changed in it, as text or as bytes in the end."""
    document = json.loads(rng.choice(originals))
    for _ in range(rng.choice((1, 1, 1, 1, 2, 4))):
        rng.choice(MUTATIONS)(rng, document)
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5, separators=rng.choice(((",", ":"), (", ", ": "))))
    text = text.replace('"@@', '"')
    return rng.choice(SPOILERS)(rng, text) if rng.random() < 0.12 else text.encode("utf-8", "surrogatepass")


def _places(part: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a document, with each of its keys or indices."""
    for key, value in list(part.items() if isinstance(part, dict) else enumerate(part)):
        yield part, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _place(rng: random.Random, document: Document) -> tuple[Any, Any]:
    """A container and a key in it: any place is as likely as any other, or any level is."""
    if rng.random() < 0.5:
        return rng.choice(list(_places(document)))
    part: Any = document
    while True:
        key = rng.choice(list(part) if isinstance(part, dict) else range(len(part)))
        value = part[key]
        if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
            return part, key
        part = value


def _graphs(document: Document) -> list[Document]:
    """The graph and the bodies of the cells, as far as they are left whole."""
    cells = document.get("cells")
    graphs = [*(cells if isinstance(cells, list) else ()), document.get("graph")]
    return [graph for graph in graphs if isinstance(graph, dict) and _is_full(graph.get("nodes"))]


def _is_full(nodes: Any) -> bool:
    return (
        isinstance(nodes, list) and len(nodes) > 0 and all(isinstance(node, list) and len(node) == 3 for node in nodes)
    )


def _node(rng: random.Random, document: Document) -> tuple[list[Any], int] | None:
    """All nodes of some graph, and the number of one of them."""
    graphs = _graphs(document)
    if not graphs:
        return None
    nodes = rng.choice((graphs[-1], rng.choice(graphs)))["nodes"]
    return nodes, rng.randrange(len(nodes))


def _operation(rng: random.Random, document: Document) -> Document | None:
    """The object of an operation that is not a cell."""
    for _ in range(9):
        found = _node(rng, document)
        if found and isinstance(entry := found[0][found[1]][1], dict) and "op" in entry:
            return entry
    return None


def replace_value(rng: random.Random, document: Document) -> None:
    """Anything becomes something else."""
    part, key = _place(rng, document)
    part[key] = copy.deepcopy(rng.choice(JUNK))


def change_number(rng: random.Random, document: Document) -> None:
    """A number, anywhere, grows, shrinks, or changes its type."""
    places = [place for place in _places(document) if type(place[0][place[1]]) in (int, float)]
    if places:
        part, key = rng.choice(places)
        number = part[key]
        changes = (number + 1, number - 1, 2 * number, -number, number + 0.5, float(number), str(number), [number])
        part[key] = rng.choice((*changes, *SMALL, rng.choice(HUGE), rng.choice(ODD_NUMBERS)))


def resize(rng: random.Random, document: Document) -> None:
    """A size of an operation or of an input becomes another that may do as well."""
    entry = _operation(rng, document)
    shapes = document.get("input_shapes")
    if rng.random() < 0.3 and isinstance(shapes, list) and shapes and isinstance(shapes[0], list) and shapes[0]:
        shapes[0][rng.randrange(len(shapes[0]))] = rng.choice((*SMALL, 16, 32, 64, 225, rng.choice(HUGE)))
    elif entry:
        names = [name for name, value in entry.items() if type(value) is int]
        lists = [value for value in entry.values() if isinstance(value, list) and value]
        if names and rng.random() < 0.6:
            entry[rng.choice(names)] = rng.choice((*SMALL, 4, 8, 12, 64, rng.choice(HUGE)))
        elif lists:
            chosen = rng.choice(lists)
            chosen[rng.randrange(len(chosen))] = rng.choice((*SMALL, [0, 1], [2, 2], rng.choice(HUGE)))


def drop(rng: random.Random, document: Document) -> None:
    """A key or an element is lost."""
    part, key = _place(rng, document)
    del part[key]


def repeat(rng: random.Random, document: Document) -> None:
    """An element, or a key, stands twice; `@@` goes away when the text has been written."""
    part, key = _place(rng, document)
    if isinstance(part, list):
        part.insert(rng.randrange(len(part) + 1), copy.deepcopy(part[key]))
    else:
        part[f"@@{key}"] = copy.deepcopy(part[key])


def rename_key(rng: random.Random, document: Document) -> None:
    """A key of an object becomes another."""
    objects = [document, *(part[key] for part, key in _places(document) if isinstance(part[key], dict) and part[key])]
    part = rng.choice(objects)
    if part:
        key = rng.choice(list(part))
        part[rng.choice((key.upper(), f"{key}2", key[:-1], *FIELDS, *TEXTS))] = part.pop(key)


def rewire(rng: random.Random, document: Document) -> None:
    """A node reads itself, a later one, an earlier one, none, or what is no node."""
    if found := _node(rng, document):
        nodes, number = found
        inputs = nodes[number][2]
        if isinstance(inputs, list):
            source = rng.choice((number, number + 1, -1, len(nodes), 10**9, *[rng.randrange(max(1, number))] * 6))
            if inputs and rng.random() < 0.7:
                inputs[rng.randrange(len(inputs))] = source
            else:
                inputs.append(source)


def swap_inputs(rng: random.Random, document: Document) -> None:
    """The inputs of a node stand in another order."""
    for _ in range(9):
        found = _node(rng, document)
        if found and isinstance(inputs := found[0][found[1]][2], list) and len(inputs) > 1:
            rng.shuffle(inputs)
            return


def swap_nodes(rng: random.Random, document: Document) -> None:
    """Two nodes change places, or their operations do."""
    if found := _node(rng, document):
        nodes, first = found
        second = rng.randrange(len(nodes))
        if rng.random() < 0.5:
            nodes[first], nodes[second] = nodes[second], nodes[first]
        else:
            nodes[first][1], nodes[second][1] = nodes[second][1], nodes[first][1]


def rename_node(rng: random.Random, document: Document) -> None:
    """A node takes another's name, or a strange one."""
    if found := _node(rng, document):
        nodes, number = found
        nodes[number][0] = rng.choice((rng.choice(nodes)[0], *TEXTS, *TEXTS, "fine"))


def change_operation(rng: random.Random, document: Document) -> None:
    """An operation becomes one of another kind, known or not, with its own fields, others, or none."""
    if found := _node(rng, document):
        nodes, number = found
        name = rng.choice(OPERATIONS)
        kinds = {operation.__name__: operation for operation in LEAF_OPERATIONS}
        known = [field for field in FIELDS if name in kinds and field in kinds[name].__dataclass_fields__]
        entry = {field: copy.deepcopy(rng.choice(FIELDS[field])) for field in known if rng.random() < 0.8}
        nodes[number][1] = {"op": name, **entry}


def change_field(rng: random.Random, document: Document) -> None:
    """A field of an operation holds something else, or the operation has a field more."""
    if entry := _operation(rng, document):
        known = [field for field in entry if field in FIELDS] or list(FIELDS)
        field = rng.choice(known if rng.random() < 0.7 else list(FIELDS))
        entry[field] = copy.deepcopy(rng.choice(FIELDS[field]))


def insert_node(rng: random.Random, document: Document) -> None:
    """A node more, behind another whose readers now read it; mostly that is an architecture still."""
    graphs = _graphs(document)
    if not graphs:
        return
    graph = rng.choice(graphs)
    nodes = graph["nodes"]
    behind = rng.randrange(len(nodes))
    plain = ("Identity", "Activation", "BatchNorm", "LayerNorm", "Zero", "Dropout", "Add", "Multiply", "Concat")
    entry: Document = {"op": rng.choice(plain)}
    if entry["op"] == "Dropout":
        entry["probability"] = rng.choice((0, 0.5))
    for node in nodes:
        if isinstance(node[2], list):
            node[2] = [source + 1 if type(source) is int and source >= behind else source for source in node[2]]
    for output in graph["outputs"] if isinstance(graph.get("outputs"), list) else ():
        if isinstance(output, list) and len(output) == 2 and type(output[1]) is int and output[1] >= behind:
            output[1] += 1
    sources = [behind] * (2 if entry["op"] in plain[-3:] else 1)
    nodes.insert(behind + 1, [f"inserted{rng.randrange(100)}", entry, sources])


def change_cell(rng: random.Random, document: Document) -> None:
    """A node becomes a cell, or another cell: earlier, later, itself, or none that there is."""
    if found := _node(rng, document):
        nodes, number = found
        cells = document.get("cells")
        count = len(cells) if isinstance(cells, list) else 0
        nodes[number][1] = {"cell": rng.choice((*range(count), count, -1, True, None, 10**9, "0", 0.0))}


def move_cell(rng: random.Random, document: Document) -> None:
    """The table of cells stands in another order, has a cell more or less, or a graph in it."""
    cells = document.get("cells")
    if isinstance(cells, list) and cells:
        number = rng.randrange(len(cells))
        match rng.randrange(4):
            case 0:
                rng.shuffle(cells)
            case 1:
                del cells[number]
            case 2:
                cells.insert(number, copy.deepcopy(cells[number]))
            case 3:
                cells[number] = copy.deepcopy(document.get("graph"))


def change_outputs(rng: random.Random, document: Document) -> None:
    """A graph gives more, less, or something else."""
    if graphs := _graphs(document):
        graph = rng.choice(graphs)
        names = rng.choice((("y",), ("y",), ("y", "z"), ("y", "y"), (), ("\ud800",), ("a\nb",)))
        graph["outputs"] = [[name, rng.choice((rng.randrange(len(graph["nodes"])), -1, 10**9))] for name in names]


def change_header(rng: random.Random, document: Document) -> None:
    """The format or the version is another."""
    if rng.random() < 0.6:
        document["version"] = rng.choice((2, 3, 99, 10**30, 10**400, 0, -1, 1.0, 2.0, "1", True, None, [1]))
    else:
        document["format"] = rng.choice(
            ("nas", "NAS.ARCHITECTURE", "onnx", None, 1, ["nas.architecture"], "nas.search")
        )


def change_inputs(rng: random.Random, document: Document) -> None:
    """The network gets inputs of other shapes, fewer or more of them."""
    axes = rng.choice((0, 1, 2, 3, 3, 3, 4, 1_000))
    shape = [rng.choice((1, 2, 3, 8, 32, 224, 0, -1, rng.choice(HUGE))) for _ in range(axes)]
    document["input_shapes"] = rng.choice(([shape], [shape], [shape, shape], [], shape, {"x": shape}))


def nest(rng: random.Random, document: Document) -> None:
    """Cells stand in cells, one or two in each, some levels or very many."""
    cells = document.get("cells")
    if not isinstance(cells, list):
        return
    copies = rng.choice((1, 2, 2, 9))
    for _ in range(rng.choice((1, 5, 31, 40, 500))):
        inner = {"cell": len(cells) - 1} if cells else {"op": rng.choice(("Activation", "Add"))}
        reads = 2 if inner.get("op") == "Add" else 1
        nodes: list[Any] = [["x", {"op": "Input"}, []]]
        nodes += [[f"n{number}", inner, [number] * reads] for number in range(copies)]
        cells.append({"family": "nest", "nodes": nodes, "outputs": [["y", copies]]})
    if found := _node(rng, document):
        found[0][found[1]][1] = {"cell": len(cells) - 1}


def stack(rng: random.Random, document: Document) -> None:
    """A node is done again and again, up to thousands of times; sums of a sum with itself among them."""
    graphs = _graphs(document)
    if not graphs:
        return
    graph = graphs[-1]
    nodes = graph["nodes"]
    end = len(nodes) - 1
    entry = rng.choice(
        (
            {"op": rng.choice(("Activation", "BatchNorm", "Identity", "Add", "Add", "Multiply", "Concat", "Flatten"))},
            {"op": "Upsample", "factor": rng.choice((1, 2, 3))},
            {"op": "Conv", "out_channels": 2, "kernel": [1, 1], "stride": rng.choice(([1, 1], [2, 1], [2**40, 2**40]))},
            {"op": "Linear", "out_features": rng.choice((1, 10**9))},
        )
    )
    reads = 2 if entry["op"] in ("Add", "Multiply", "Concat") else 1
    for number in range(rng.choice((1, 3, 20, 70, 1_200))):
        nodes.append([f"stacked{number}", entry, [end] * reads])
        end += 1
    graph["outputs"] = [["y", end]]


def graft(rng: random.Random, document: Document) -> None:
    """A piece of the document stands where another piece was."""
    part, key = _place(rng, document)
    other, name = _place(rng, document)
    part[key] = copy.deepcopy(other[name])


MUTATIONS: tuple[Mutation, ...] = (
    *(replace_value, change_number, drop, repeat, rename_key, rename_node, swap_nodes, change_cell, move_cell),
    *(change_outputs, change_header, change_inputs, nest, stack, stack, graft, rewire, rewire, swap_inputs),
    *(resize, resize, resize, change_operation, change_operation, change_field, change_field, change_field),
    *(insert_node, insert_node, insert_node, insert_node),
)
"""Often those that may leave the document valid."""


def truncate(rng: random.Random, text: str) -> bytes:
    """The end is lost."""
    return _encoded(text)[: rng.randrange(len(text))]


def flip_bytes(rng: random.Random, text: str) -> bytes:
    """Some bytes are others."""
    data = bytearray(_encoded(text))
    for _ in range(rng.choice((1, 1, 3, 30))):
        data[rng.randrange(len(data))] = rng.choice((rng.randrange(256), ord(rng.choice(string.printable))))
    return bytes(data)


def encode_otherwise(rng: random.Random, text: str) -> bytes:
    """Another encoding than UTF-8, or a mark in front."""
    return text.encode(rng.choice(("utf-16", "utf-32", "utf-8-sig", "latin-1", "utf-7")), "replace")


def brackets(rng: random.Random, text: str) -> bytes:
    """Brackets in brackets, too many for any reader."""
    depth = rng.choice((10, 900, 3_000, 100_000))
    place = rng.randrange(len(text))
    return _encoded(text[:place] + rng.choice(("[", '{"a":')) * depth + text[place:])


def replace_text(rng: random.Random, text: str) -> bytes:
    """Something else altogether."""
    noise = bytes(rng.randrange(256) for _ in range(rng.randrange(200)))
    return rng.choice(
        (b"", b"null", b"[]", b"{}", b'"nas.architecture"', b"NaN", b"1" * 5_000, noise, _encoded(text) * 2)
    )


def long_number(rng: random.Random, text: str) -> bytes:
    """A number of more digits than anyone reads."""
    return _encoded(text.replace(rng.choice(("1", "2", "3")), rng.choice(("1" * 5_000, "1e999", "-1e-999")), 1))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


SPOILERS: tuple[Callable[[random.Random, str], bytes], ...] = (
    *(truncate, flip_bytes, flip_bytes, encode_otherwise, brackets, replace_text, long_number),
)
