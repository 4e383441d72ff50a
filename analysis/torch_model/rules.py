"""What a rule is that tells what the outputs of one of torch's operations see, and the rules that need no more."""

from collections.abc import Callable, Mapping
from typing import Any

from analysis.torch_model.sight import Factor, Sight, spread, spread_all, unite
from analysis.torch_model.tape import Operation, Value
from search_spaces.ops import Shape

Sights = list[Sight | None]
"""What all values of a tape see, by their numbers; None where nothing of the model's first input arrives."""

Seen = Sight | None | list[Sight | None]
"""What the outputs of an operation see: all the same, or a list with one for each."""

Rule = Callable[[Operation, list[Value], Sights], Seen]
"""From an operation, those of the tensors it reads that see something, and what all values see."""

RuleOfOne = Callable[[Operation, Value, Sight], Seen]
"""From an operation, the tensor that the rule is about, and what that sees."""


def start(shape: Shape, *, is_whole: bool, is_local: bool = False) -> Sight:
    """What an input sees of itself. `shape` begins with the batch, then channels, then axes with positions.

    A vector has positions if it `is_whole` numbers, which stand for something each.
    """
    unseen = 1 if is_whole and len(shape) == 2 else min(2, len(shape))
    lengths = shape[unseen:]
    axes = tuple((Factor(size, axis, 1),) for axis, size in enumerate(lengths))
    return Sight(((),) * unseen + axes, ((0, 0),) * len(lengths), is_local)


def about(name: str, rule: RuleOfOne) -> Rule:
    """A rule about the argument of this name; what else is read, as a weight that depends on the input, is seen everywhere."""

    def whole_rule(operation: Operation, read: list[Value], sights: Sights) -> Seen:
        value = operation.get(name)
        sight = sights[value.number] if isinstance(value, Value) else None
        seen = None if sight is None else rule(operation, value, sight)
        return with_others(operation, seen, [other for other in read if other is not value], sights)

    return whole_rule


def about_all(argument: str, rules: Mapping[RuleOfOne, str]) -> dict[str, Rule]:
    """The rules about an argument by the names of aten's operations, where each rule comes with those that it holds for."""
    return {f"aten.{name}": about(argument, rule) for rule, names in rules.items() for name in names.split()}


def for_each(rule: Rule, names: str) -> dict[str, Rule]:
    """One rule for several of aten's operations."""
    return {f"aten.{name}": rule for name in names.split()}


def with_others(operation: Operation, seen: Seen, others: list[Value], sights: Sights) -> Seen:
    """The first output sees what is `seen`, and everywhere all that the others see."""
    if not others:
        return seen
    shape = operation.outputs[0].shape
    found = [*(seen if isinstance(seen, list) else [seen]), *(sights[other.number] for other in others)]
    parts = [
        part if index == 0 and len(part.axes) == len(shape) else spread_all(part, len(shape))
        for index, part in enumerate(found)
        if part is not None
    ]
    return join([part for part in parts if part is not None], shape)


def join(sights: list[Sight], shape: Shape) -> Sight | None:
    """What a tensor of this shape sees that is made of tensors of the same shape."""
    return unite(sights, [shape] * len(sights), shape) if sights else None


def pointwise(operation: Operation, read: list[Value], sights: Sights) -> Seen:
    """Each element is made of one of each tensor."""
    if not operation.outputs:
        return None
    seen = [sight for value in read if (sight := sights[value.number]) is not None]
    return unite(seen, [value.shape for value in read], operation.outputs[0].shape)


def mixed(operation: Operation, read: list[Value], sights: Sights) -> Seen:
    """All that is seen together, everywhere: never too little."""
    return with_others(operation, None, read, sights) if operation.outputs else None


def nothing(operation: Operation, read: list[Value], sights: Sights) -> Seen:
    """What was read does not matter."""
    return None


def same(operation: Operation, value: Value, sight: Sight) -> Seen:
    """Each position sees what it saw."""
    return sight


def along(name: str) -> RuleOfOne:
    """What mixes along the axes that an argument names, along all if it names none."""

    def rule(operation: Operation, value: Value, sight: Sight) -> Seen:
        dimensions = len(value.shape)
        return spread(sight, axes_of(operation, name, dimensions) or range(dimensions))

    return rule


def reduced(operation: Operation, read: list[Value], sights: Sights) -> Seen:
    """A sum, a mean, a maximum along some axes, which stay with one position or go."""
    value = read[0]
    sight, dimensions = sights[value.number], len(value.shape)
    axes = axes_of(operation, "dim", dimensions) or list(range(dimensions))
    seen = None if sight is None else spread(sight, axes)
    if seen is not None and operation.outputs and len(operation.outputs[0].shape) < dimensions:
        seen = seen._replace(axes=tuple(factors for axis, factors in enumerate(seen.axes) if axis not in axes))
    return with_others(operation, seen, read[1:], sights)


def numbers(argument: Any) -> tuple[int, ...]:
    """An argument that is a number, a row of them or none as a row."""
    return argument if isinstance(argument, tuple) else () if argument is None else (argument,)


def axes_of(operation: Operation, name: str, dimensions: int) -> list[int]:
    """The axes that an argument names, counted from the front."""
    return [axis % dimensions for axis in numbers(operation.get(name))] if dimensions else []


def axis_of(operation: Operation, dimensions: int, name: str = "dim") -> int:
    """The axis that an argument names, counted from the front."""
    return int(operation.get(name) or 0) % max(1, dimensions)
