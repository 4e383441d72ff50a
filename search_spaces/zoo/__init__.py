"""The classic networks, one family a file, and how a network is found by its name.

Parameters are as torchvision builds them. A network takes `input_shape` and `classes` where these make sense, and
parameters of its own; every one has a default, which gives the network as it was published.
"""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

from search_spaces.architecture import Architecture
from search_spaces.errors import UserError, unknown_name

NETWORKS: dict[str, str] = {
    "alexnet": "search_spaces.zoo.alexnet:alexnet",
    "densenet100_bc": "search_spaces.zoo.densenet:densenet100_bc",
    "densenet121": "search_spaces.zoo.densenet:densenet121",
    "densenet161": "search_spaces.zoo.densenet:densenet161",
    "densenet169": "search_spaces.zoo.densenet:densenet169",
    "densenet201": "search_spaces.zoo.densenet:densenet201",
    "lenet5": "search_spaces.zoo.lenet:lenet5",
    "resnet18": "search_spaces.zoo.resnet:resnet18",
    "resnet34": "search_spaces.zoo.resnet:resnet34",
    "resnet50": "search_spaces.zoo.resnet:resnet50",
    "resnet101": "search_spaces.zoo.resnet:resnet101",
    "resnet152": "search_spaces.zoo.resnet:resnet152",
    "resnet164": "search_spaces.zoo.resnet:resnet164",
    "vgg11": "search_spaces.zoo.vgg:vgg11",
    "vgg11_bn": "search_spaces.zoo.vgg:vgg11_bn",
    "vgg13": "search_spaces.zoo.vgg:vgg13",
    "vgg13_bn": "search_spaces.zoo.vgg:vgg13_bn",
    "vgg16": "search_spaces.zoo.vgg:vgg16",
    "vgg16_bn": "search_spaces.zoo.vgg:vgg16_bn",
    "vgg19": "search_spaces.zoo.vgg:vgg19",
    "vgg19_bn": "search_spaces.zoo.vgg:vgg19_bn",
    "googlenet": "search_spaces.zoo.googlenet:googlenet",
    "inception_v3": "search_spaces.zoo.inception_v3:inception_v3",
    "mobilenet_v2": "search_spaces.zoo.mobilenet_v2:mobilenet_v2",
    "efficientnet_b0": "search_spaces.zoo.efficientnet_b0:efficientnet_b0",
    "wavenet": "search_spaces.zoo.wavenet:wavenet",
    "character_cnn": "search_spaces.zoo.character_cnn:character_cnn",
    "separable_pair": "search_spaces.zoo.separable:separable_pair",
}
"""Where the function that makes each network is: `module:function`, imported only when the network is loaded."""


def names() -> tuple[str, ...]:
    """The names that `load` knows, in order."""
    return tuple(sorted(NETWORKS))


def defaults(name: str) -> dict[str, Any]:
    """The parameters of a network by name, with the values that give it as it was published.

    Raises:
        UserError: there is no such network.
    """
    return {known: parameter.default for known, parameter in inspect.signature(_maker(name)).parameters.items()}


def load(name: str, **parameters: Any) -> Architecture:
    """The network called `name`, as it was published unless `parameters` (`input_shape`, `classes`, …) tell otherwise.

    Raises:
        UserError: there is no such network, or it has no such parameter, or refuses its value.
    """
    known = defaults(name)
    for parameter, value in parameters.items():
        if parameter not in known:
            raise unknown_name(f"parameter of the network {name!r}", parameter, known)
        if isinstance(known[parameter], bool) and not isinstance(value, bool):
            raise UserError(f"{parameter} of the network {name!r} must be true or false, got {value!r}")
    # Lists, as files have them, would make the graph unhashable.
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()}
    return _maker(name)(**given)


def _maker(name: str) -> Callable[..., Architecture]:
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    module, _, function = NETWORKS[name].partition(":")
    make: Callable[..., Architecture] = getattr(import_module(module), function)
    return make
