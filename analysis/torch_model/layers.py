"""The layers of a torch model, from the tape of one run: a row for each call of a leaf module, in the order of the run.

What a module that is not a leaf computes itself has a row for each operation, by the module's path and the operator's
name (`layer1.0.add`); views have none. A name that comes again gets a number (`relu#2`). Parameters and buffers are told
where they are used first; those of modules that the run did not need come last.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from analysis.layer import Layer, receptive_fraction
from analysis.torch_model.receptive_field import follow
from analysis.torch_model.sight import Sight, field_of
from analysis.torch_model.tape import Call, Operation, Tape, Value, Weight
from analysis.torch_model.window_rules import taps_of
from search_spaces.ops import Shape


@dataclass(slots=True, eq=False)
class Row:
    """A call that is one layer, and what ran in it."""

    call: Call
    operations: list[int] = field(default_factory=list)


def rows_of(tape: Tape) -> tuple[Row, ...]:
    """The calls of leaf modules and, where a module that is none computes itself, of operations."""
    rows: dict[int, Row] = {
        number: Row(call) for number, call in enumerate(tape.calls) if call.is_module and call.is_leaf
    }
    for index, operation in enumerate(tape.operations):
        number = operation.call
        call = tape.calls[number]
        if not call.is_module and call.caller in rows:
            number = call.caller
        if number not in rows:
            if call.is_module or operation.kind.is_view or not call.outputs:
                continue
            rows[number] = Row(call)
        rows[number].operations.append(index)
    return tuple(row for _, row in sorted(rows.items()))


def activation_bytes(row: Row) -> int:
    """The bytes of what a row gives, each tensor once."""
    return sum({value.number: value.size_bytes for value in row.call.outputs}.values())


def module_layers(tape: Tape, macs: Sequence[int], *, batch: int, sights: Sequence[Sight | None]) -> tuple[Layer, ...]:
    """One row for each layer; `macs` are those of the operations of the tape, `sights` what its values see."""
    return tuple(_layers(tape, macs, batch, sights))


def _layers(tape: Tape, macs: Sequence[int], batch: int, sights: Sequence[Sight | None]) -> Iterator[Layer]:
    local = follow(tape, is_local=True).sights
    names: Counter[str] = Counter()
    weights = _Weights(tape.weights)
    input_shape = tape.inputs[0].shape[1:] if tape.inputs else ()
    for row in rows_of(tape):
        operations = [tape.operations[index] for index in row.operations]
        used = weights.take(row.call, operations)
        seen = sights[row.call.outputs[0].number] if row.call.outputs else None
        windows = field_of(seen)
        yield Layer(
            name=_name(row.call, names),
            operation=row.call.label if row.call.is_module else row.call.label.removeprefix("aten."),
            output_shape=_shape(row.call.outputs, batch),
            params=sum(weight.elements for weight in used if weight.is_parameter),
            weight_bytes=sum(weight.size_bytes for weight in used),
            macs=sum(macs[index] for index in row.operations),
            input_bytes=sum(value.size_bytes for value in _read_from_outside(row.call, operations)),
            activation_bytes=activation_bytes(row),
            receptive_field=windows,
            receptive_fraction=receptive_fraction(windows, input_shape),
            unproductive=any(_is_unproductive(operation, local, input_shape) for operation in operations),
        )
    for (owner, label), rest in weights.left().items():
        yield Layer(
            name=_counted(owner or "weights", names),
            operation=f"{label}, not used",
            output_shape=(),
            params=sum(weight.elements for weight in rest if weight.is_parameter),
            weight_bytes=sum(weight.size_bytes for weight in rest),
            macs=0,
            input_bytes=0,
            activation_bytes=0,
            receptive_field=None,
            receptive_fraction=None,
            unproductive=False,
        )


def _name(call: Call, names: Counter[str]) -> str:
    if call.is_module:
        return _counted(call.name, names)
    operator = call.label.removeprefix("aten.")
    return _counted(f"{call.name}.{operator}" if call.name else operator, names)


def _counted(name: str, names: Counter[str]) -> str:
    names[name] += 1
    return name if names[name] == 1 else f"{name}#{names[name]}"


def _shape(outputs: tuple[Value, ...], batch: int) -> Shape:
    """The shape of the first output, without the batch where that comes first."""
    if not outputs:
        return ()
    shape = tuple(outputs[0].shape)
    return shape[1:] if shape and shape[0] == batch else shape


def _read_from_outside(call: Call, operations: Sequence[Operation]) -> list[Value]:
    """The arguments of a module, and what else is read that is neither a weight nor made within, each storage once."""
    inside = {id(value.storage) for operation in operations for value in operation.outputs if not _is_view(operation)}
    inside.update(id(value.storage) for value in call.inputs)
    read: dict[int, Value] = {}
    for operation in operations:
        if operation.kind.is_view:
            continue
        for value in operation.values():
            if not value.storage.is_weight and id(value.storage) not in inside:
                read.setdefault(id(value.storage), value)
    return [*call.inputs, *read.values()]


def _is_view(operation: Operation) -> bool:
    return operation.kind.is_view or bool(operation.kind.writes)


def _is_unproductive(operation: Operation, local: Sequence[Sight | None], input_shape: Shape) -> bool:
    """Whether its window can bring in nothing new (see `Layer`)."""
    taps = taps_of(operation)
    value = operation.get("input") or operation.get("self")
    if not taps or not isinstance(value, Value):
        return False
    sight = local[value.number]
    if sight is None:
        return False
    lengths = input_shape[1:] or input_shape
    slid: set[int] = set()
    for tap, factors in zip(taps, sight.axes[len(sight.axes) - len(taps) :], strict=True):
        if tap.kernel > 1:
            slid.update(factor.axis for factor in factors if factor.axis is not None)
    windows = field_of(sight) or ()
    return bool(slid) and all(windows[axis].size > lengths[axis] for axis in slid)


class _Weights:
    """Hands every weight to the first row that has to do with it."""

    def __init__(self, weights: Sequence[Weight]) -> None:
        self._left = dict(enumerate(weights))
        self._below: defaultdict[str, list[int]] = defaultdict(list)
        """Those of a module and of all below it, by its path."""
        self._by_storage: defaultdict[int, list[int]] = defaultdict(list)
        for number, weight in self._left.items():
            parts = weight.owner.split(".")
            for length in range(1, len(parts) + 1):
                self._below[".".join(parts[:length])].append(number)
            self._by_storage[id(weight.storage)].append(number)

    def take(self, call: Call, operations: Sequence[Operation]) -> list[Weight]:
        """Those of a leaf module with all below it, and whatever else is read, unless a row before has them."""
        numbers: list[int] = []
        if call.is_module:
            numbers += self._below.get(call.name, ())
        for operation in operations:
            if not operation.kind.is_view:
                for value in operation.values():
                    if value.storage.is_weight:
                        numbers += self._by_storage[id(value.storage)]
        return [self._left.pop(number) for number in dict.fromkeys(numbers) if number in self._left]

    def left(self) -> dict[tuple[str, str], list[Weight]]:
        """Those that no row has, by the module that holds them."""
        modules: defaultdict[tuple[str, str], list[Weight]] = defaultdict(list)
        for weight in self._left.values():
            modules[weight.owner, weight.owner_label].append(weight)
        return dict(modules)
