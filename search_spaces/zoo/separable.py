"""The spatially separable pair: a kx1 convolution and a 1xk one, which see what a kxk convolution sees.

References:
    Rigamonti, Sironi, Lepetit, Fua. Learning Separable Filters. CVPR 2013.
"""

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells import separable_cell
from search_spaces.ops import Shape
from search_spaces.parameters import check_image, check_positive


def separable_pair(*, input_shape: Shape = (1, 224, 224), channels: int = 1, kernel: int = 3) -> Architecture:
    """The pair alone, without normalisation or activation; an odd `kernel` keeps the size.

    Raises:
        UserError: a parameter is refused.
    """
    check_image("separable_pair", input_shape, smallest=1)
    check_positive("separable_pair", channels=channels, kernel=kernel)
    pair = separable_cell(channels, kernel=kernel, normalisation="none", activation=None)
    builder = GraphBuilder()
    return Architecture(builder.graph(builder.add("pair", pair, builder.input())), (input_shape,))
