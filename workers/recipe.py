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
    """Of matrices and kernels; scales, shifts and biases are spared."""
    label_smoothing: float = 0.1
    shift_pixels: int = 1
    """Training images are moved at random by up to so many pixels along each axis."""
    average_decay: float = 0.98
    """The exponential average of the weights forgets this much less than all of itself per step; it is what counts."""
