"""What networks of several families share: stages, heads, and the check of what a network was asked for."""

from collections.abc import Iterable

from search_spaces.builder import GraphBuilder
from search_spaces.graph import Cell
from search_spaces.ops import Activation, AdaptivePool, Dropout, Flatten, GlobalPool, Linear, Operation, Shape
from search_spaces.parameters import check_image, check_positive


def check_network(name: str, input_shape: Shape, classes: int) -> None:
    """Refuses what is no image (channels, height, width), and fewer than one class.

    Raises:
        UserError: with the name of the network and of the parameter.
    """
    check_image(name, input_shape, smallest=1)
    check_positive(name, classes=classes)


def stage_cell(cells: Iterable[tuple[str, Operation]]) -> Cell:
    """Named cells one behind the other."""
    builder = GraphBuilder()
    return builder.cell("stage", builder.chain(builder.input(), *cells))


def pooled_head(classes: int, *before: tuple[str, Operation], dropout: float = 0.0) -> Cell:
    """What comes `before`, the average over all positions, dropout unless it is 0, and a linear layer."""
    builder = GraphBuilder()
    value = builder.chain(builder.input(), *before, ("pool", GlobalPool("average")), ("flatten", Flatten()))
    if dropout:
        value = builder.add("dropout", Dropout(dropout), value)
    return builder.cell("head", builder.add("linear", Linear(classes), value))


def dense_head(classes: int, *, features: tuple[int, int], dropout_first: bool) -> Cell:
    """Averages of `features` (height, width), two linear layers of 4,096, and the linear classifier.

    The layers of 4,096 have ReLU and dropout, which comes first or last of each.
    """
    builder = GraphBuilder()
    value = builder.chain(builder.input(), ("pool", AdaptivePool("average", features)), ("flatten", Flatten()))
    for number in (1, 2):
        layers = (f"linear{number}", Linear(4_096)), (f"activation{number}", Activation())
        drop = ((f"dropout{number}", Dropout(0.5)),)
        value = builder.chain(value, *((*drop, *layers) if dropout_first else (*layers, *drop)))
    return builder.cell("head", builder.add("linear3", Linear(classes), value))
