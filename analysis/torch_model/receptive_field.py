"""What every tensor of a tape sees of the model's first input, by one rule for each of torch's operations.

Padding that is not zeros, and what is rolled around, counts as outside of the input, so windows are those of positions
away from the border (as for our own graphs). Attention is full: a mask that hides positions is not looked into. An
operation that has no rule is taken to see, at each position, all that its inputs see together, which is never too
little, and is named.
"""

from typing import NamedTuple

from analysis.torch_model.mixing_rules import MIXING_RULES
from analysis.torch_model.rules import Rule, Sights, for_each, mixed, nothing, pointwise, reduced, start
from analysis.torch_model.sight import spread_all
from analysis.torch_model.tape import Kind, Tape
from analysis.torch_model.view_rules import VIEW_RULES
from analysis.torch_model.window_rules import WINDOW_RULES

RULES: dict[str, Rule] = {
    **VIEW_RULES,
    **WINDOW_RULES,
    **MIXING_RULES,
    **for_each(pointwise, "complex floor_divide polar"),
    **for_each(
        nothing,
        "_functional_assert_async _local_scalar_dense empty_like exponential fill full_like geometric new_empty new_empty_strided new_full new_ones new_zeros normal "
        "ones_like rand_like randint_like randn_like random uniform zero zeros_like",
    ),
}
"""What is not here has no rule, unless it is element-wise or a reduction; what is made in the shape of a tensor sees
nothing of it."""


class Following(NamedTuple):
    """What each value of a tape sees, and the operations that have no rule."""

    sights: Sights
    without_rule: tuple[str, ...]


def follow(tape: Tape, *, is_local: bool = False) -> Following:
    """Follows the first input through the tape; `is_local` leaves out what came by way of seeing all, as gates do."""
    sights: Sights = [None] * tape.values
    without_rule: dict[str, None] = {}
    if tape.inputs:
        first = tape.inputs[0]
        is_whole = not first.spec[2].is_floating_point
        sights[first.number] = start(first.shape, is_whole=is_whole, is_local=is_local)
    for operation in tape.operations:
        read = [value for value in operation.values() if sights[value.number] is not None]
        outputs = operation.outputs
        if not read or not outputs:
            continue
        rule = rule_for(operation.kind)
        if rule is pointwise and len(read) == 1 and len(outputs) == 1 and read[0].shape == outputs[0].shape:
            sights[outputs[0].number] = sights[read[0].number]
            continue
        if rule is None:
            without_rule[operation.kind.name] = None
            rule = mixed
        seen = rule(operation, read, sights)
        for index, output in enumerate(outputs):
            one = seen[index] if isinstance(seen, list) else seen
            if one is not None and len(one.axes) != len(output.shape):
                one = spread_all(one, len(output.shape))
            sights[output.number] = one
    return Following(sights, tuple(without_rule))


def rule_for(kind: Kind) -> Rule | None:
    """The rule for operations of a kind; None if it has none."""
    rule = RULES.get(kind.name)
    if rule is None and kind.is_pointwise:
        return pointwise
    return reduced if rule is None and kind.is_reduction else rule
