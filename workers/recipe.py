"""The recipe of a training: everything about it but the architecture, the data, the epochs and the seed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train; the values were chosen by the validation accuracy of random `cellular` networks on digits."""

    batch_size: int = 32
    learning_rate: float = 0.1
    """The peak, reached after the warm-up; from there a cosine leads to 0."""
    warmup_epochs: float = 2.0
    momentum: float = 0.9
    """Nesterov's."""
    weight_decay: float = 5e-4
    """Of matrices and kernels; the scales and shifts of norms and the biases are spared."""
    label_smoothing: float = 0.1
    rotation_degrees: float = 9.0
    """Training images are turned at random by up to this angle, to either side; likewise the following."""
    scale: float = 0.1
    """The fraction by which they grow or shrink."""
    shear: float = 0.1
    """By how many pixels to a side for each pixel upwards they lean."""
    shift_pixels: float = 0.5
    """How far they are moved along each axis."""
