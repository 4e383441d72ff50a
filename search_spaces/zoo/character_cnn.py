"""The character-aware CNN: from the characters of a word, padded to one length, to a vector for the word.

This is the large model's word encoder; the recurrent language model behind it is left out.

References:
    Kim, Jernite, Sontag, Rush. Character-Aware Neural Language Models. AAAI 2016 (equations 4 to 7 and table 2).
"""

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells import highway_cell
from search_spaces.errors import UserError
from search_spaces.ops import Activation, Concat, Conv, Embedding, Flatten, GlobalPool, Shape
from search_spaces.parameters import check_positive

_FILTERS = {1: 50, 2: 100, 3: 150, 4: 200, 5: 200, 6: 200, 7: 200}
"""Filters by their width: min(200, 50 · width), in table 2."""


def character_cnn(
    *, input_shape: Shape = (21,), characters: int = 51, features: int = 15, highways: int = 2
) -> Architecture:
    """The encoder of words of `input_shape` characters, each a number below `characters`; gives 1,100 features.

    Raises:
        UserError: a parameter is refused.
    """
    if len(input_shape) != 1 or type(input_shape[0]) is not int or input_shape[0] < max(_FILTERS):
        raise UserError(
            f"character_cnn: input_shape must be (length,) of at least {max(_FILTERS)} characters, got {input_shape!r}"
        )
    check_positive("character_cnn", characters=characters, features=features, highways=highways)
    builder = GraphBuilder()
    embedded = builder.add("embedding", Embedding(characters, features), builder.input())
    maxima = [
        builder.chain(
            embedded,
            (f"conv{width}", Conv(filters, (width,), bias=True)),
            (f"tanh{width}", Activation("tanh")),
            (f"maximum{width}", GlobalPool("max")),
        )
        for width, filters in _FILTERS.items()
    ]
    highway = highway_cell(sum(_FILTERS.values()))
    value = builder.chain(
        builder.add("concat", Concat(), *maxima),
        ("flatten", Flatten()),
        *((f"highway{number}", highway) for number in range(1, highways + 1)),
    )
    return Architecture(builder.graph(value), (input_shape,))
