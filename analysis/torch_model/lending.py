"""A user's torch model lent for a run: other tensors stand for its weights meanwhile, and afterwards it is as before.

Nothing of a module is called to lend it (`eval` and `train` may be overridden, and merge weights): flags and weights
are exchanged in the modules' own dictionaries, which are put back with all that they held, whatever the run has done.
"""

import copy
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

_CONTAINERS = (dict, OrderedDict, list, set, deque)


class WeightPlace(NamedTuple):
    """Where a module holds a parameter or a buffer; tied weights have a place in each."""

    owner: str
    module: nn.Module
    name: str
    tensor: Tensor
    is_parameter: bool


def weight_places(network: nn.Module) -> Iterator[WeightPlace]:
    """All places of parameters and buffers, shared modules once."""
    for path, module in network.named_modules():
        for entries, is_parameter in ((module._parameters, True), (module._buffers, False)):
            for name, tensor in entries.items():
                if tensor is not None:
                    yield WeightPlace(path, module, name, tensor, is_parameter)


def stand_ins_for(network: nn.Module, make: Callable[[Tensor, bool], Tensor]) -> dict[int, Tensor]:
    """One stand-in for each weight, by its identity: the same one for tensors that are the same memory.

    `make` gets the tensor and whether it is a parameter.
    """
    known: dict[tuple[object, ...], Tensor] = {}
    found: dict[int, Tensor] = {}
    for place in weight_places(network):
        if id(place.tensor) not in found:
            memory = _memory(place.tensor)
            if memory not in known:
                known[memory] = make(place.tensor, place.is_parameter)
            found[id(place.tensor)] = known[memory]
    return found


def _memory(tensor: Tensor) -> tuple[object, ...]:
    """Equal for tensors that are the same memory, seen in the same way."""
    if tensor.layout is not torch.strided:
        return (id(tensor),)
    return tensor.untyped_storage()._cdata, tensor.storage_offset(), tensor.shape, tensor.stride()


@contextmanager
def lent(network: nn.Module, stand_ins: Mapping[int, Tensor], *, training: bool | None) -> Iterator[None]:
    """Puts the stand-ins, by the identity of the tensors that they stand for, in the place of the weights.

    `training` is set in all modules; None leaves each as it is.
    """
    before = [(module, dict(vars(module))) for module in network.modules()]
    containers: list[Any] = [value for _, known in before for value in known.values() if type(value) in _CONTAINERS]
    contents = [(container, container.copy() if container else ()) for container in containers]
    try:
        for container, content in contents:
            if content:
                _exchange(container, stand_ins)
        if training is not None:
            for module, _ in before:
                vars(module)["training"] = training
        yield
    finally:
        for container, content in contents:
            if container or content:
                container.clear()
                container.extend(content) if isinstance(container, list | deque) else container.update(content)
        for module, known in before:
            vars(module).clear()
            vars(module).update(known)


def _exchange(container: Any, stand_ins: Mapping[int, Tensor]) -> None:
    """In the dictionaries of weights, and in lists of them, as recurrent layers keep one besides."""
    if not isinstance(container, dict | list):
        return
    for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
        if isinstance(value, Tensor) and id(value) in stand_ins:
            container[key] = stand_ins[id(value)]


def is_uninitialised(network: nn.Module) -> bool:
    """Whether weights wait for an input to get their shapes, as those of `nn.LazyLinear` do."""
    return any(is_lazy(place.tensor) for place in weight_places(network))


def initialised(network: nn.Module, run: Callable[[nn.Module], object]) -> nn.Module:
    """A copy of the network on meta tensors, whose weights have got their shapes by running it."""
    places = list(weight_places(network))
    shared = {id(place.tensor): _on_meta(place.tensor) for place in places}
    twin = copy.deepcopy(network, dict(shared))
    with torch.no_grad():
        run(twin.eval())
    return twin


def _on_meta(tensor: Tensor) -> Tensor:
    if isinstance(tensor, UninitializedParameter):
        return UninitializedParameter(requires_grad=tensor.requires_grad, device="meta")  # type: ignore[call-arg]
    if isinstance(tensor, UninitializedBuffer):
        return UninitializedBuffer(requires_grad=tensor.requires_grad, device="meta")  # type: ignore[call-arg]
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
