"""The most memory that a training step takes: the forward pass, the backward pass and the optimiser, played through.

The model is eager torch, whose passes are followed tensor by tensor (see `training_steps`):

- Forward: what autograd saves lives on, the rest as long as some frame holds it: a cell's inputs as long as it runs.
- Backward, in reverse: a step holds its gradient, what it saved, and the gradients that it makes; then it lets go of
  the first two. Gradients of one value that arrive from several readers are added up in a new tensor: so torch does
  while anything looks on; else it may add in place, and take some percent less. Parameters' gradients appear one by one.
- Optimiser, one parameter after the other (`foreach=False`): Adam makes three temporaries of its size.

It is the second step, in which the optimiser has its state; gradients are dropped after a step. The loss is the cross
entropy of each output. Where precision is mixed (autocast), convolutions and linear layers read half copies of float32
values and of their weights, the latter kept until the forward pass ends, and what follows them is in half.

Left out: what a kernel allocates for itself, and what an allocator rounds up. On CUDA torch prefers `foreach`, whose
Adam makes temporaries of the size of all parameters, and keeps the mask of a dropout in a byte an element.
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from analysis.cost import BYTES_PER_COUNTER, ELEMENT_BYTES, operation_cost
from analysis.training_steps import Step, steps_of
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError, unknown_name
from search_spaces.graph import Cell, Graph, node_shapes
from search_spaces.ops import Input, Operation, Shape

OPTIMIZERS = {"sgd": 0, "momentum": 1, "adam": 2}
"""How many numbers each optimiser keeps for every parameter."""

_HALF_BYTES = 2


class TrainingMemory(NamedTuple):
    """The bytes of a training step: the most at any time, and what it is made of.

    `saved_bytes` is what the forward pass has kept for the backward pass at its end, besides weights.
    """

    peak_bytes: int
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    saved_bytes: int


def training_memory(
    architecture: Architecture,
    *,
    batch: int = 1,
    optimizer: str = "momentum",
    mixed_precision: bool = False,
    dtype: str = "float32",
) -> TrainingMemory:
    """The memory of training `architecture` with `batch` inputs a step.

    Raises:
        UserError: there is no such optimiser or number type, or precision is mixed with other than float32.
    """
    check_training(optimizer, dtype, mixed_precision=mixed_precision)
    play = _Play(batch, ELEMENT_BYTES[dtype], mixed_precision=mixed_precision)
    given = [play.input(shape) for shape in architecture.input_shapes]
    labels_and_loss_bytes = BYTES_PER_COUNTER * batch + 2 * play.element_bytes
    play.heap.make(labels_and_loss_bytes)
    outputs = play.run(architecture.graph, architecture.input_shapes, given)
    play.end_forward(outputs)
    given_bytes = sum(play.heap.bytes_of(value.storage) for value in given) + labels_and_loss_bytes
    saved_bytes = play.heap.live - given_bytes
    play.backward()
    gradient_bytes = sum(play.params) * play.element_bytes
    state_bytes = OPTIMIZERS[optimizer] * gradient_bytes
    play.heap.touch(optimizer_scratch(optimizer, play.params) * play.element_bytes)
    weight_bytes = gradient_bytes + play.buffer_bytes
    return TrainingMemory(
        peak_bytes=weight_bytes + state_bytes + play.heap.peak,
        weight_bytes=weight_bytes,
        gradient_bytes=gradient_bytes,
        optimizer_bytes=state_bytes,
        saved_bytes=saved_bytes,
    )


def check_training(optimizer: str, dtype: str, *, mixed_precision: bool) -> None:
    """Refuses what cannot be asked for.

    Raises:
        UserError: there is no such optimiser or number type, or precision is mixed with other than float32.
    """
    if optimizer not in OPTIMIZERS:
        raise unknown_name("optimizer", optimizer, OPTIMIZERS)
    if dtype not in ELEMENT_BYTES:
        raise unknown_name("number type", dtype, ELEMENT_BYTES)
    if mixed_precision and dtype != "float32":
        raise UserError(f"mixed precision mixes float32 with half precision; with {dtype} there is nothing to mix")


def optimizer_scratch(optimizer: str, params: Sequence[int]) -> int:
    """The most that the optimiser holds besides its state, in the unit in which `params` are."""
    if optimizer != "adam":
        return 0
    # The denominator of one parameter lives until that of the next has been made, from a root of its size.
    return max((before + 2 * size for before, size in zip((0, *params), params, strict=False)), default=0)


class _Heap:
    """Storages with the number of those who hold them."""

    def __init__(self) -> None:
        self.live = 0
        self.peak = 0
        self._bytes: list[int] = []
        self._holders: list[int] = []

    def make(self, size_bytes: int) -> int:
        """A new storage, held once."""
        self._bytes.append(size_bytes)
        self._holders.append(1)
        self.live += size_bytes
        self.peak = max(self.peak, self.live)
        return len(self._bytes) - 1

    def hold(self, storage: int) -> int:
        self._holders[storage] += 1
        return storage

    def drop(self, storage: int) -> None:
        self._holders[storage] -= 1
        if not self._holders[storage]:
            self.live -= self._bytes[storage]

    def bytes_of(self, storage: int) -> int:
        return self._bytes[storage]

    def touch(self, size_bytes: int) -> None:
        """Takes memory for a moment."""
        self.peak = max(self.peak, self.live + size_bytes)


class _Value(NamedTuple):
    """A tensor of the forward pass."""

    number: int
    storage: int
    elements: int
    element_bytes: int
    has_gradient: bool


class _Record(NamedTuple):
    """What the backward pass knows of a step: whose gradients it makes, of how many bytes, and what it saved."""

    output: int
    targets: tuple[tuple[int, int], ...]
    saved: tuple[int, ...]
    params_bytes: tuple[int, ...]
    scratch_bytes: int
    passes: bool


class _Play:
    """One training step on a heap; sizes of values are for the whole batch."""

    def __init__(self, batch: int, element_bytes: int, *, mixed_precision: bool) -> None:
        self.heap = _Heap()
        self.params: list[int] = []
        self.buffer_bytes = 0
        self.element_bytes = element_bytes
        self._batch = batch
        self._mixed = mixed_precision
        self._records: list[_Record] = []
        self._gradients: dict[int, int] = {}
        self._losses: list[_Value] = []
        self._values = 0
        self._copies: list[int] = []
        """The half copies of weights, which autocast keeps until the forward pass ends."""

    def input(self, shape: Shape) -> _Value:
        """A tensor that comes from outside, and lives as long as the step."""
        elements = self._batch * prod(shape)
        return self._value(elements, self.element_bytes, has_gradient=False)

    def run(self, graph: Graph, input_shapes: tuple[Shape, ...], given: Sequence[_Value]) -> list[_Value]:
        """The forward pass of a graph; what it returns is held for the caller."""
        shapes = node_shapes(graph, input_shapes)
        last_reader = {source: index for index, node in enumerate(graph.nodes) for source in node.inputs}
        kept = {index for _, index in graph.outputs}
        slots: dict[int, _Value] = dict(zip(graph.inputs, given, strict=True))
        for index in graph.inputs:
            self.heap.hold(slots[index].storage)
            if index not in last_reader and index not in kept:
                self.heap.drop(slots[index].storage)
        for index, node in enumerate(graph.nodes):
            if isinstance(node.operation, Input):
                continue
            sources = [slots[source] for source in node.inputs]
            inner_shapes = tuple(shapes[source] for source in node.inputs)
            if isinstance(node.operation, Cell):
                (slots[index],) = self.run(node.operation.body, inner_shapes, sources)
            else:
                self._count_buffers(node.operation, inner_shapes[0], shapes[index])
                slots[index] = self._operate(steps_of(node.operation, inner_shapes, shapes[index]), sources)
            for source in set(node.inputs) - kept:
                if last_reader[source] == index:
                    self.heap.drop(slots[source].storage)
        return [slots[index] for _, index in graph.outputs]

    def end_forward(self, outputs: Sequence[_Value]) -> None:
        """The cross entropy of every output, with which the backward pass begins."""
        for value in outputs:
            if value.has_gradient:
                step = Step((0,), value.elements // self._batch, saves=(1,))
                log_softmax = self._operate((step,), [value])
                self._losses.append(log_softmax)
                self.heap.drop(log_softmax.storage)
            self.heap.drop(value.storage)
        for storage in self._copies:
            self.heap.drop(storage)

    def backward(self) -> None:
        """The backward pass, which frees what was saved and leaves the gradients of the parameters."""
        heap = self.heap
        for value in self._losses:
            self._gradients[value.number] = heap.make(value.elements * value.element_bytes)
        while self._records:
            record = self._records.pop()
            gradient = self._gradients.pop(record.output, None)
            if gradient is not None:
                scratch = heap.make(record.scratch_bytes)
                made = [
                    (target, heap.hold(gradient) if record.passes else heap.make(size_bytes))
                    for target, size_bytes in record.targets
                ]
                for size_bytes in record.params_bytes:
                    heap.make(size_bytes)
                heap.drop(scratch)
                heap.drop(gradient)
            for storage in record.saved:
                heap.drop(storage)
            if gradient is not None:
                for (target, storage), (_, size_bytes) in zip(made, record.targets, strict=True):
                    self._accumulate(target, storage, size_bytes)

    def _accumulate(self, target: int, storage: int, size_bytes: int) -> None:
        before = self._gradients.get(target)
        if before is None:
            self._gradients[target] = storage
        else:
            self._gradients[target] = self.heap.make(size_bytes)
            self.heap.drop(before)
            self.heap.drop(storage)

    def _value(self, elements: int, element_bytes: int, *, has_gradient: bool, storage: int | None = None) -> _Value:
        self._values += 1
        if storage is None:
            storage = self.heap.make(elements * element_bytes)
        else:
            self.heap.hold(storage)
        return _Value(self._values, storage, elements, element_bytes, has_gradient)

    def _count_buffers(self, operation: Operation, input_shape: Shape, output_shape: Shape) -> None:
        cost = operation_cost(operation, input_shape, output_shape)
        self.buffer_bytes += cost.weight_bytes(self.element_bytes) - self.element_bytes * cost.params

    def _operate(self, steps: Sequence[Step], sources: Sequence[_Value]) -> _Value:
        """Plays the steps of one operation; its result is held, what is made on the way is not."""
        values = list(sources)
        last_use = {number: place for place, step in enumerate(steps) for number in step.reads}
        for place, step in enumerate(steps):
            values.append(self._step(step, values))
            for number in set(step.reads):
                if number >= len(sources) and last_use[number] == place:
                    self.heap.drop(values[number].storage)
        return values[-1]

    def _step(self, step: Step, values: Sequence[_Value]) -> _Value:
        reads = [values[number] for number in step.reads]
        halves = self._mixed and step.casts
        casts = [self._cast(value) if halves and value.element_bytes > _HALF_BYTES else value for value in reads]
        self.params.extend(step.params)
        has_gradient = bool(step.params) or any(value.has_gradient for value in reads)
        kinds = [value.element_bytes for value in casts or values[:1]]
        element_bytes = _HALF_BYTES if halves else max(kinds, default=self.element_bytes)
        shared = casts[0].storage if step.view else None
        result = self._value(self._batch * step.elements, element_bytes, has_gradient=has_gradient, storage=shared)
        kept_bytes = self._batch * step.saved_bytes + self.element_bytes * step.statistics
        self.heap.touch(kept_bytes)
        if has_gradient:
            known = {**dict(enumerate(values)), **dict(zip(step.reads, casts, strict=True)), len(values): result}
            saved = [self.heap.hold(storage) for storage in {known[number].storage for number in step.saves}]
            saved.append(self.heap.make(kept_bytes))
            if halves:
                saved.extend(self._copy_weights(step.params))
            self._records.append(
                _Record(
                    output=result.number,
                    targets=tuple((v.number, v.elements * v.element_bytes) for v in casts if v.has_gradient),
                    saved=tuple(saved),
                    params_bytes=tuple(self.element_bytes * size for size in step.params),
                    scratch_bytes=self._batch * step.scratch * element_bytes,
                    passes=step.passes,
                )
            )
        for before, cast in zip(reads, casts, strict=True):
            if cast is not before:
                self.heap.drop(cast.storage)
        return result

    def _cast(self, value: _Value) -> _Value:
        """The half copy of a value."""
        copy = self._value(value.elements, _HALF_BYTES, has_gradient=value.has_gradient)
        if value.has_gradient:
            target = (value.number, value.elements * value.element_bytes)
            self._records.append(_Record(copy.number, (target,), (), (), 0, passes=False))
        return copy

    def _copy_weights(self, params: Sequence[int]) -> list[int]:
        """Half copies of weights, held by the step that saves them and by the cache."""
        copies = [self.heap.make(_HALF_BYTES * size) for size in params]
        self._copies.extend(copies)
        return [self.heap.hold(storage) for storage in copies]
