"""WaveNet: causal convolutions whose dilation doubles from layer to layer, gated, with the sum of all skips at the end.

One block of ten layers sees 1,024 samples. Deviations: the first convolution, before the layers, has a kernel of 1, so
that the layers alone decide how far the network sees; the last layer has no residual sum, which nothing would read;
there are no biases, as in the equations. The paper does not tell its widths; the defaults are small ones.

References:
    van den Oord et al. WaveNet: A Generative Model for Raw Audio. arXiv:1609.03499, 2016 (sections 2.1 and 2.4).
"""

from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.cells import gated_cell
from search_spaces.errors import UserError
from search_spaces.ops import Activation, Add, Conv, Shape
from search_spaces.parameters import check_positive


def wavenet(
    *,
    input_shape: Shape = (256, 16_000),
    classes: int = 256,
    blocks: int = 1,
    layers: int = 10,
    kernel: int = 2,
    channels: int = 32,
    skip_channels: int = 256,
) -> Architecture:
    """WaveNet on (amplitudes, samples): the scores of the next sample's `classes` amplitudes, after every sample.

    Each of the `blocks` has `layers` layers, of dilation 1, 2, 4, …

    Raises:
        UserError: a parameter is refused.
    """
    if len(input_shape) != 2:
        raise UserError(f"wavenet: input_shape must be (amplitudes, samples), got {input_shape!r}")
    check_positive("wavenet", amplitudes=input_shape[0], samples=input_shape[1], classes=classes, blocks=blocks)
    check_positive("wavenet", layers=layers, kernel=kernel, channels=channels, skip_channels=skip_channels)
    builder = GraphBuilder()
    value = builder.add("first", _point(channels), builder.input())
    dilations = [2**layer for _ in range(blocks) for layer in range(layers)]
    skips = []
    for number, dilation in enumerate(dilations, start=1):
        gated = builder.add(f"gated{number}", gated_cell(channels, kernel=kernel, dilation=dilation), value)
        skips.append(builder.add(f"skip{number}", _point(skip_channels), gated))
        if number < len(dilations):
            residual = builder.add(f"residual{number}", _point(channels), gated)
            value = builder.add(f"sum{number}", Add(), value, residual)
    value = builder.chain(
        builder.add("skips", Add(), *skips) if len(skips) > 1 else skips[0],
        ("activation1", Activation()),
        ("conv1", _point(skip_channels)),
        ("activation2", Activation()),
        ("conv2", _point(classes)),
    )
    return Architecture(builder.graph(value), (input_shape,))


def _point(channels: int) -> Conv:
    return Conv(channels, (1,))
