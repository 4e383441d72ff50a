"""The totals of many networks of one space at once: the space's slots are gone through in step, with an array for each figure.

The graph of a space with slots (`search_spaces.slots`) is walked once for all networks. What does not depend on the
answers stays a single number; what does is an array with one element for each network. The rules are those of
`analyze`: it works out every option of a slot, and what is freed when; only the sums are done for all networks together.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

from analysis.cost import FLOPS_PER_MAC, Cost, graph_cost
from analysis.memory import lifetimes
from analysis.receptive_field import Path, whole
from analysis.report import FIGURES, SUMS, checked_element_bytes, sums
from analysis.totals import INPUT_TOTALS, Totals, operation_totals
from search_spaces.errors import UserError
from search_spaces.graph import Cell, Graph, node_shapes, walk
from search_spaces.ops import Operation, Shape
from search_spaces.slots import Choice, Slots
from search_spaces.space import SearchSpace

Numbers = NDArray[numpy.int64]
"""One number for each network, or a single one (without axes) for all."""
Truths = NDArray[numpy.bool_]
"""The same of yes and no."""

_BLOCK = 16_384
"""How many networks go in step: so few that their arrays stay in the processor's cache."""
_MOST_CODES = 2**40
"""From here on the numbers that stand for combinations are counted anew, so that they never overflow."""
_NO_VIEW = -1
_OWN_POSITION = (1, 0, 0)
"""The window of what reads itself."""


@dataclass(frozen=True, slots=True, eq=False)
class BatchReport:
    """The totals of `Report` for many networks, one element of each array for each network.

    `sees_input` tells for which networks the first output sees anything of the first input; `windows`, of the shape
    (networks, axes, 3), are stride, low and high of the receptive field, and 0 where nothing is seen.
    """

    batch: int
    dtype: str
    params: Numbers
    macs: Numbers
    fvcore_flops: Numbers
    activation_bytes: Numbers
    weight_bytes: Numbers
    peak_inference_bytes: Numbers
    depth: Numbers
    sees_input: Truths
    windows: Numbers

    @property
    def flops(self) -> Numbers:
        """Floating point operations: two for each MAC."""
        return FLOPS_PER_MAC * self.macs

    @property
    def receptive_field(self) -> Numbers:
        """The size of the receptive field along its largest axis, 0 if nothing is seen."""
        sizes = self.windows[..., 2] - self.windows[..., 1] + 1
        return numpy.where(self.sees_input, sizes.max(axis=1, initial=0), 0)

    def figures(self) -> dict[str, Numbers]:
        """`FIGURES` by name."""
        return {name: getattr(self, name) for name in FIGURES}


def analyze_batch(
    space: SearchSpace | Slots, choices: NDArray[Any], *, batch: int = 1, dtype: str = "float32"
) -> BatchReport:
    """What `analyze` finds for the network of each row of `choices`.

    `choices`, whole numbers of the shape (networks, decisions), hold the positions of the answers among the options of
    each decision, in the order of `slots().domains`.

    Raises:
        UserError: the space has no slots, or `choices` are not of this form, or batch or type are refused, or the
            receptive field has fractions (behind an upsampling), which these arrays do not hold.
    """
    element_bytes = checked_element_bytes(batch, dtype)
    slots = space if isinstance(space, Slots) else space.slots()
    _check_choices(slots, choices)
    skeleton = slots.skeleton
    blocks = [choices[start : start + _BLOCK] for start in range(0, len(choices), _BLOCK)]
    columns: dict[str, list[NDArray[Any]]] = {}
    for block in blocks:
        answers = {domain.name: block[:, index] for index, domain in enumerate(slots.domains)}
        totals = _Walk(answers, len(block), element_bytes).graph(skeleton.graph, skeleton.input_shapes)
        summed = sums(totals.cost, totals.working_bytes, skeleton.input_shapes, batch, element_bytes)
        figures = dict(zip(SUMS, summed, strict=True))
        seen, _, windows = totals.paths[0]
        figures["depth"] = reduce(numpy.maximum, [path.seen * path.depth for path in totals.paths])
        figures["sees_input"] = seen
        for name, values in figures.items():
            columns.setdefault(name, []).append(numpy.broadcast_to(values, len(block)))
        of_axes = [numpy.broadcast_to(seen * number, len(block)) for window in windows for number in window]
        columns.setdefault("windows", []).append(
            numpy.array(of_axes, dtype=numpy.int64).reshape(len(windows), 3, len(block)).transpose(2, 0, 1)
        )
    return BatchReport(batch, dtype, **{name: numpy.concatenate(parts) for name, parts in columns.items()})


def _check_choices(slots: Slots, choices: NDArray[Any]) -> None:
    counts = [domain.count for domain in slots.domains]
    if choices.ndim != 2 or not len(choices) or choices.shape[1] != len(counts) or choices.dtype.kind not in "iu":
        raise UserError(
            f"choices must be whole numbers, a row for each network and a column for each of {len(counts)} decisions, "
            f"got {choices.dtype} of the shape {choices.shape}"
        )
    for column, domain in zip(choices.T, slots.domains, strict=True):
        if column.min() < 0 or column.max() >= domain.count:
            raise UserError(f"choices: the positions of {domain.name!r} must be from 0 to {domain.count - 1}")


class _Paths(NamedTuple):
    """What `Path` is for one network, for all; where nothing is `seen`, the other numbers mean nothing.

    `field` is None where each position reads itself.
    """

    seen: Truths
    depth: Numbers
    field: tuple[tuple[Numbers, Numbers, Numbers], ...]


class _Sums(NamedTuple):
    """What `Totals` is for one network, for all; `view_of` is `_NO_VIEW` where the output has storage of its own."""

    cost: Cost
    working_bytes: Numbers
    output_bytes: Numbers
    view_of: Numbers
    paths: tuple[_Paths, ...]


class _Walk:
    """Works out the graphs of a skeleton for networks whose answers, by the names of the decisions, are arrays."""

    def __init__(self, answers: dict[str, NDArray[Any]], networks: int, element_bytes: int) -> None:
        self._answers = answers
        self._networks = networks
        self._element_bytes = element_bytes
        self._known: dict[tuple[Graph, tuple[Shape, ...]], _Sums] = {}

    def graph(self, graph: Graph, input_shapes: tuple[Shape, ...]) -> _Sums:
        """What a graph costs, holds and sees."""
        key = (graph, input_shapes)
        if key not in self._known:
            shapes = node_shapes(graph, input_shapes)
            parts = [
                self._node(node.operation, tuple([shapes[source] for source in node.inputs])) for node in graph.nodes
            ]
            self._known[key] = _Sums(
                graph_cost([part.cost for part in parts]),
                *self._storage(graph, parts),
                _graph_paths(graph, shapes, parts),
            )
        return self._known[key]

    def _node(self, operation: Operation, input_shapes: tuple[Shape, ...]) -> _Sums:
        if not input_shapes:
            return _one_of([INPUT_TOTALS], None)
        if isinstance(operation, Choice):
            options = [operation_totals(option, input_shapes, self._element_bytes) for _, option in operation.options]
            return _one_of(options, self._answers[operation.decision])
        if isinstance(operation, Cell) and _has_slots(operation.body):
            return self.graph(operation.body, input_shapes)
        return _one_of([operation_totals(operation, input_shapes, self._element_bytes)], None)

    def _storage(self, graph: Graph, parts: list[_Sums]) -> tuple[Numbers, Numbers, Numbers]:
        """`graph_storage`, for all networks together whose values are views of the same others."""
        found = numpy.empty((3, self._networks), dtype=numpy.int64)
        for views, rows in self._equal_views([part.view_of for part in parts]):
            target, freed = lifetimes(graph.wiring, graph.outputs, views)
            sizes = [_rows(part.output_bytes, rows) for part in parts]
            live = peak = numpy.zeros((), dtype=numpy.int64)
            for part, size, indices in zip(parts, sizes, freed, strict=True):
                peak = numpy.maximum(peak, live + _rows(part.working_bytes, rows))
                live = live + size
                for index in indices:
                    live = live - sizes[index]
            found[0, rows], found[1, rows] = peak, sizes[target]
            found[2, rows] = graph.inputs.index(target) if target in graph.inputs else _NO_VIEW
        return found[0], found[1], _single(found[2])

    def _equal_views(self, views: list[Numbers]) -> Iterator[tuple[tuple[int | None, ...], Any]]:
        """Of which of its inputs each node gives a view, and the rows of the networks in which it is so."""
        varying = [view for view in views if view.ndim]
        if not varying:
            yield tuple([None if view == _NO_VIEW else int(view) for view in views]), slice(None)
            return
        code = varying[0] + 1
        for view in varying[1:]:
            code = code * (int(view.max()) + 2) + view + 1
            if code.max() > _MOST_CODES:
                code = numpy.unique(code, return_inverse=True)[1]
        order = numpy.argsort(code, kind="stable")
        for rows in numpy.split(order, numpy.flatnonzero(numpy.diff(code[order])) + 1):
            numbers = [int(view[rows[0]]) if view.ndim else int(view) for view in views]
            yield tuple([None if number == _NO_VIEW else number for number in numbers]), rows


@lru_cache(maxsize=256)
def _has_slots(graph: Graph) -> bool:
    return any(isinstance(node.operation, Choice) for _, node in walk(graph))


def _rows(numbers: Numbers, rows: Any) -> Numbers:
    return numbers[rows] if numbers.ndim else numbers


def _single(numbers: Numbers) -> Numbers:
    """A single number instead of an array of equal ones."""
    return numbers[0] if numbers.size and (numbers == numbers[0]).all() else numbers


def _array(values: Sequence[Any]) -> NDArray[Any]:
    """The first of equal values, as a single number for all networks."""
    return numpy.array(values[0])


def _one_of(options: list[Totals], answers: NDArray[Any] | None) -> _Sums:
    """The figures of the options that were chosen; without `answers` there is just one."""

    def chosen(values: Sequence[Any]) -> Any:
        if not all(isinstance(value, int) for value in values):
            raise UserError("receptive fields with fractions (behind an upsampling); analyze the networks one by one")
        if all(value == values[0] for value in values):
            return _array(values)
        return numpy.array(values)[answers]

    costs, storages, paths = zip(*options, strict=True)
    workings, sizes, views = zip(*storages, strict=True)
    return _Sums(
        Cost(*map(chosen, zip(*costs, strict=True))),
        chosen(workings),
        chosen(sizes),
        chosen([_NO_VIEW if view is None else view for view in views]),
        tuple([_one_path(steps, chosen) for steps in zip(*paths, strict=True)]),
    )


def _one_path(steps: tuple[Path | None, ...], chosen: Callable[[Sequence[Any]], Any]) -> _Paths:
    axes = max([len(step.field) for step in steps if step is not None], default=0)
    fields = [(_OWN_POSITION,) * axes if step is None or not step.field else step.field for step in steps]
    return _Paths(
        chosen([step is not None for step in steps]),
        chosen([0 if step is None else step.depth for step in steps]),
        tuple([tuple(map(chosen, zip(*windows, strict=True))) for windows in zip(*fields, strict=True)]),
    )


def _graph_paths(graph: Graph, shapes: tuple[Shape, ...], parts: list[_Sums]) -> tuple[_Paths, ...]:
    """`graph_paths` for all networks."""
    found = []
    for start in graph.inputs:
        paths: list[_Paths] = []
        for index, (sources, part) in enumerate(zip(graph.wiring, parts, strict=True)):
            if sources:
                steps = zip(sources, part.paths, strict=True)
                paths.append(_unite([_compose(paths[source], step) for source, step in steps], shapes[index]))
            else:
                paths.append(_one_path((whole(shapes[index]) if index == start else None,), _array))
        found.append(paths[graph.outputs[0][1]])
    return tuple(found)


def _compose(before: _Paths, step: _Paths) -> _Paths:
    """`compose`, for all networks."""
    field = before.field
    if step.field and len(field) != len(step.field):
        field = field or step.field
    elif step.field:
        field = tuple(
            [
                (stride * own_stride, stride * own_low + low, stride * own_high + high)
                for (stride, low, high), (own_stride, own_low, own_high) in zip(field, step.field, strict=True)
            ]
        )
    return _Paths(before.seen & step.seen, before.depth + step.depth, field)


def _unite(arriving: list[_Paths], shape: Shape) -> _Paths:
    """`unite`, for all networks; where nothing arrives, nothing is seen."""
    arriving = [path for path in arriving if path.seen.ndim or path.seen]
    if not arriving:
        return _one_path((None,), _array)
    if len(arriving) == 1:
        return arriving[0]
    seens, depths, fields = zip(*arriving, strict=True)
    axes = len(fields[0])
    if any(len(field) != axes for field in fields):
        raise UserError("a vector that is read by position joins one that is not; analyze the networks one by one")
    united = []
    for axis in range(axes):
        strides, lows, highs = zip(*[field[axis] for field in fields], strict=True)
        last = shape[axis + 1] - 1 if len(shape) == axes + 1 else 0
        is_global = reduce(
            numpy.logical_or, [seen & (stride == 0) for seen, stride in zip(seens, strides, strict=True)]
        )
        stride = numpy.where(is_global, 0, _greatest(seens, strides))
        shifts = [(own - stride) * last for own in strides]
        reaches = [-(numpy.minimum(shift, 0) + low) for low, shift in zip(lows, shifts, strict=True)]
        ends = [numpy.maximum(shift, 0) + high for high, shift in zip(highs, shifts, strict=True)]
        united.append((stride, -_greatest(seens, reaches), _greatest(seens, ends)))
    return _Paths(reduce(numpy.logical_or, seens), _greatest(seens, depths), tuple(united))


def _greatest(seens: Sequence[Truths], values: Sequence[Numbers]) -> Numbers:
    """The greatest of the values that are seen, 0 where none is."""
    unseen = numpy.iinfo(numpy.int64).min
    parts = [numpy.where(seen, value, unseen) for seen, value in zip(seens, values, strict=True)]
    return numpy.where(reduce(numpy.logical_or, seens), reduce(numpy.maximum, parts), 0)
