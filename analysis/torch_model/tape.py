"""The tape of one run of a torch model: its operations in order, the tensors between them, and who called what.

It holds no tensor, so that the run frees what it would free anyhow; what remains of one is a `Value`: its shape, and
the storage that it lies in. The rules that count, and those that follow the receptive field, read the tape alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

from search_spaces.ops import Shape

Geometry = tuple[Shape, tuple[int, ...], int]
"""The shape, the strides and the offset with which a tensor lies in its storage."""


class Write(NamedTuple):
    """What was written over a part of a storage."""

    value: "Value"
    geometry: Geometry


@dataclass(slots=True, eq=False)
class Storage:
    """A piece of memory; `writes` are those that changed it after it was made."""

    size_bytes: int
    is_weight: bool = False
    writes: list[Write] = field(default_factory=list)


class Value(NamedTuple):
    """A tensor, as the tape knows it: `spec` is its shape, its strides and its number type.

    `version` is how often its storage had been written to when it was last known.
    """

    number: int
    spec: tuple[Shape, tuple[int, ...], Any]
    storage: Storage
    version: int

    @property
    def shape(self) -> Shape:
        """Its shape, the batch axis included."""
        return self.spec[0]

    @property
    def size_bytes(self) -> int:
        """The bytes of its elements."""
        return prod(self.spec[0]) * int(self.spec[2].itemsize)


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What is to be known of an operator before it runs, worked out once from its schema.

    - `name`: `aten.convolution`; in-place operators have the name of those that are not.
    - `positions` and `defaults`: of its arguments, by their names.
    - `is_pointwise`, `is_reduction`: so torch tags it. `is_view`: what it gives lies in the storage of an argument.
    - `writes`: the names of the arguments whose numbers it changes.
    - `is_composite`: it only calls others. `is_remembered`: what it gives follows from the specs of its arguments.
    """

    name: str
    positions: Mapping[str, int]
    defaults: Mapping[str, Any]
    is_pointwise: bool
    is_reduction: bool
    is_view: bool
    writes: tuple[str, ...]
    is_composite: bool
    is_remembered: bool


class Operation(NamedTuple):
    """One operation that ran; in its arguments, tensors are values. `call` is the number of the call that it is part of."""

    kind: Kind
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    outputs: tuple[Value, ...]
    call: int

    def get(self, name: str) -> Any:
        """The argument of this name, or its default; None if there is none of the name."""
        position = self.kind.positions.get(name)
        if position is not None and position < len(self.arguments):
            return self.arguments[position]
        return self.keywords.get(name, self.kind.defaults.get(name))

    def values(self) -> Iterator[Value]:
        """The tensors that it reads."""
        yield from _values(self.arguments)
        if self.keywords:
            yield from _values(self.keywords.values())


def _values(arguments: Any) -> Iterator[Value]:
    for argument in arguments:
        if isinstance(argument, Value):
            yield argument
        elif isinstance(argument, tuple):
            yield from _values(argument)


@dataclass(slots=True, eq=False)
class Call:
    """A module that ran once, or an operation that a module called with all that it is composed of.

    `name` is the path of the module, for an operation that of the module which called it; `label` is the module's class
    or the operator's name; `caller` is the number of the call that it happened in. A module is a leaf if it called no
    other module.
    """

    name: str
    label: str
    caller: int | None
    is_module: bool
    is_leaf: bool
    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()


class Weight(NamedTuple):
    """A parameter or buffer: `owner` is the path of the module that holds it, `storage` is where the run had it."""

    owner: str
    owner_label: str
    elements: int
    size_bytes: int
    is_parameter: bool
    storage: Storage


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """One run. `device` is `meta` if nothing was computed, `cpu` if it had to be; `peak_bytes` is the most that lived."""

    operations: list[Operation]
    calls: list[Call]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    weights: tuple[Weight, ...]
    values: int
    peak_bytes: int
    device: str
