"""Checks of the parameters that a user gives a space or a network; errors name it and the parameter."""

from search_spaces.errors import UserError


def check_image(space: str, input_shape: object, *, smallest: int, multiple: int = 1) -> None:
    """Refuses all but (channels, height, width) with sizes of at least `smallest` that are multiples of `multiple`."""
    if (
        not isinstance(input_shape, tuple)
        or len(input_shape) != 3
        or any(type(size) is not int for size in input_shape)
        or input_shape[0] < 1
        or any(size < smallest or size % multiple for size in input_shape[1:])
    ):
        kind = f"of at least {smallest}" if multiple == 1 else f"that are multiples of {multiple}"
        raise UserError(
            f"{space}: input_shape must be (channels, height, width) with sizes {kind}, got {input_shape!r}"
        )


def check_positive(space: str, **values: object) -> None:
    """Refuses all but whole numbers from 1 on."""
    for name, value in values.items():
        if type(value) is not int or value < 1:
            raise UserError(f"{space}: {name} must be a whole number of at least 1, got {value!r}")


def check_subset(space: str, known: tuple[str, ...], **values: object) -> None:
    """Refuses all but distinct names from `known`, at least one."""
    for name, value in values.items():
        if not isinstance(value, tuple) or not value or len(set(value)) < len(value) or not set(value) <= set(known):
            raise UserError(f"{space}: {name} must be some of {', '.join(known)}, each once, got {value!r}")
