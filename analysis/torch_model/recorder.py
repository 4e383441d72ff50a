"""One run of a torch model, written to a tape: on meta tensors, which have shapes and no numbers, or really on the CPU.

Below autograd every operation comes by here. What only calls others (`linear`, `einsum`, `lstm`) is opened, so that
everything counts that torch does, but for `scaled_dot_product_attention`: on meta tensors torch would take it apart,
where CPUs and GPUs have one kernel for it that never holds all scores; here it is that kernel. The fused path of
`nn.TransformerEncoderLayer`, behind which nothing can be seen, is switched off meanwhile.

On meta tensors nothing is computed, and what an operation gives is worked out once for each set of shapes. Whatever the
model makes or holds besides its weights is exchanged for a meta tensor as soon as it is used.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from analysis.torch_model.attention import fused_attention, is_fusible
from analysis.torch_model.kinds import kind_of
from analysis.torch_model.storages import LiveStorages
from analysis.torch_model.tape import Call, Geometry, Kind, Operation, Storage, Tape, Value, Weight, Write

_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_OF_NUMBERS = ("aten._local_scalar_dense", "aten.lift_fresh", "aten.detach")
"""What `torch.tensor` and `item` do: they work on the numbers that a model has made itself."""
_LOOK_UPS = ("aten.embedding", "aten._embedding_bag", "aten._embedding_bag_forward_only")

REREAD = Kind("nas.reread", {}, {}, False, False, True, (), False, False)
"""A value whose storage was written to through another one, as it is read again: the old value, the writes since then,
and the geometry of the reader."""

SPECS: dict[Any, tuple[bool, tuple[Any, ...]]] = {}
"""What operations give on meta tensors, by operator and arguments: whether it is one tensor, and the specs."""
_MOST_SPECS = 50_000


class FloatIndices(Exception):
    """An input that was taken for real numbers is looked up in a table; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down what a network does; `stand_ins` has what stands in for its weights, by their identity."""

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would load its compiler, which takes seconds, and call it at every operation.
        return False

    def __init__(
        self, network: nn.Module, stand_ins: Mapping[int, Tensor], inputs: Sequence[Tensor], device: str
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._operations: list[Operation] = []
        self._calls = [Call("", type(network).__name__, None, is_module=True, is_leaf=False)]
        self._storages: LiveStorages[Storage] = LiveStorages()
        self._values = 0
        self._running = ""
        """The outermost operation that runs."""
        self._is_meta = device == "meta"
        self._stand_ins = stand_ins
        self._exchanged: dict[int, tuple[Tensor, Tensor]] = {}
        """Tensors with numbers, and the meta tensors that stand for them."""
        self._foreign: dict[int, tuple[Tensor, Value]] = {}
        """Tensors that the model holds besides its weights. All of these are kept: no other shall get their identity."""
        self._has_read = False
        self._paths = {id(module): path for path, module in network.named_modules()}
        self._thread = threading.get_ident()
        self._modules: list[tuple[int, int]] = []
        """The modules that run, from the outside in: their identity and the number of their call."""
        self._open: int | None = None
        """The number of the call of the outermost operation that runs."""
        self.weights = {
            id(tensor): self._new_value(tensor, is_weight=True) for tensor in dict.fromkeys(stand_ins.values())
        }
        """The values of the stand-ins, by their identity."""
        self.inputs = tuple(self._new_value(tensor) for tensor in inputs)
        self._input_storages = [value.storage for value in self.inputs]

    @property
    def where(self) -> str:
        """What failed, in words: the module that runs, and the operation that ran in it last."""
        call = self._calls[self._modules[-1][1] if self._modules else 0]
        module = f"module {call.name!r} ({call.label})" if call.name else call.label
        return f"{module} fails at {self._running}" if self._running else f"{module} fails"

    def tape(self, outputs: tuple[Value, ...], weights: tuple[Weight, ...]) -> Tape:
        """The tape of what has run, with the outputs of the network."""
        return Tape(
            operations=self._operations,
            calls=self._calls,
            inputs=self.inputs,
            outputs=outputs,
            weights=weights,
            values=self._values,
            peak_bytes=self._storages.peak_bytes,
            device="meta" if self._is_meta else "cpu",
        )

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Records the run of the network within."""
        with ExitStack() as stack:
            for handle in (
                register_module_forward_pre_hook(self._enter),
                register_module_forward_hook(self._leave),
            ):
                stack.callback(handle.remove)
            fast_path = torch.backends.mha.get_fastpath_enabled()
            torch.backends.mha.set_fastpath_enabled(False)
            stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
            stack.enter_context(self)
            yield

    def find_values(self, structure: Any) -> tuple[Value, ...]:
        """The tensors in what a module takes or gives."""
        return tuple(self._read(tensor)[1] for tensor in tensors_in(structure))

    def _enter(self, module: nn.Module, arguments: Any) -> None:
        path = self._paths.get(id(module))
        if path is None or threading.get_ident() != self._thread:
            return
        caller = self._modules[-1][1] if self._modules else None
        if caller is None:
            number = 0
        else:
            number = len(self._calls)
            self._calls[caller].is_leaf = False
            self._calls.append(Call(path, type(module).__name__, caller, is_module=True, is_leaf=True))
        self._calls[number].inputs = self.find_values(arguments)
        self._modules.append((id(module), number))

    def _leave(self, module: nn.Module, arguments: Any, output: Any) -> None:
        if id(module) not in self._paths or threading.get_ident() != self._thread:
            return
        # A module whose failure another one has caught is still there.
        while self._modules:
            identity, number = self._modules.pop()
            if identity == id(module):
                self._calls[number].outputs = self.find_values(output)
                return

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kind, keywords = kind_of(func), kwargs or {}
        is_first = self._open is None
        outermost = is_first and not kind.is_view
        if is_first:
            self._running = kind.name
        if outermost:
            caller = self._modules[-1][1] if self._modules else 0
            self._open = len(self._calls)
            self._calls.append(Call(self._calls[caller].name, kind.name, caller, is_module=False, is_leaf=True))
        try:
            if func is _ATTENTION and is_fusible(*args, **keywords):
                result = self._operate(kind, fused_attention, args, keywords)
            elif kind.is_composite:
                with self:
                    result = func._op_dk(_COMPOSITE, *args, **keywords)
            else:
                result = self._operate(kind, func, args, keywords)
        finally:
            number = self._open
            if outermost:
                self._open = None
        if outermost and number is not None:
            self._calls[number].outputs = self.find_values(result)
        if is_first:
            self._running = ""
        return result

    def _operate(self, kind: Kind, run: Any, arguments: Any, keywords: Any) -> Any:
        if kind.name in _OF_NUMBERS and self._has_numbers(arguments[0]):
            return run(*arguments)
        self._has_read = False
        tensors, values = self._read_all(arguments)
        if keywords:
            named = {name: self._read_all((argument,)) for name, argument in keywords.items()}
            keywords = {name: tensor for name, ((tensor,), _) in named.items()}
            known = {name: value for name, (_, (value,)) in named.items()}
        else:
            known = keywords
        if kind.name in _LOOK_UPS:
            self._check_indices(tensors[1])
        if self._is_meta:
            result = self._run_on_meta(kind, run, tensors, keywords, values, known)
        else:
            result = run(*tensors, **keywords)
        written = self._write(kind, tensors, keywords) if kind.writes else {}
        outputs = [
            written.pop(id(tensor)) if id(tensor) in written else self._made(tensor) for tensor in tensors_in(result)
        ]
        outputs += written.values()
        call = self._open
        if call is None:
            call = self._modules[-1][1] if self._modules else 0
        self._operations.append(Operation(kind, values, known, tuple(outputs), call))
        return result

    def _write(self, kind: Kind, tensors: Any, keywords: Any) -> dict[int, Value]:
        """The values of the arguments that an operation has changed, by the identity of the tensors."""
        changed: dict[int, Value] = {}
        for name in kind.writes:
            position = kind.positions[name]
            for tensor in tensors_in(tensors[position] if position < len(tensors) else keywords.get(name)):
                storage = self._storage_of(tensor)
                changed[id(tensor)] = value = self._new_value(tensor, version=len(storage.writes) + 1)
                storage.writes.append(Write(value, _geometry(tensor)))
        return changed

    def _run_on_meta(self, kind: Kind, run: Any, tensors: Any, keywords: Any, values: Any, known: Any) -> Any:
        key = None
        if kind.is_remembered and self._has_read:
            key = (run, _key(values), tuple(known), _key(known.values())) if known else (run, _key(values))
            found = SPECS.get(key)
            if found is not None:
                made = [_empty(spec) for spec in found[1]]
                return made[0] if found[0] else tuple(made)
        if "device" in kind.positions and (not self._has_read or keywords.get("device") is not None):
            keywords = {**keywords, "device": "meta"}
        result = run(*tensors, **keywords)
        if key is not None:
            made = [result] if isinstance(result, Tensor) else list(result)
            if all(self._storages.find(tensor.untyped_storage()) is None for tensor in made):
                if len(SPECS) >= _MOST_SPECS:
                    SPECS.clear()
                SPECS[key] = isinstance(result, Tensor), tuple(map(_spec, made))
        return result

    def _check_indices(self, indices: Tensor) -> None:
        if indices.is_floating_point():
            for number, storage in enumerate(self._input_storages):
                if storage is self._storage_of(indices):
                    raise FloatIndices(number)

    def _read_all(self, arguments: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The arguments as the operation gets them, and as the tape has them."""
        tensors, values = [], []
        for argument in arguments:
            tensor = value = argument
            if isinstance(argument, Tensor):
                tensor, value = self._read(argument)
            elif isinstance(argument, list | tuple):
                parts, value = self._read_all(argument)
                tensor = type(argument)(parts) if type(argument) in (list, tuple) else argument
            tensors.append(tensor)
            values.append(value)
        return tuple(tensors), tuple(values)

    def _read(self, tensor: Tensor) -> tuple[Tensor, Value]:
        """A tensor as the operation gets it, and its value."""
        self._has_read = True
        value: Value | None = getattr(tensor, "_nas_value", None)
        if value is None:
            tensor = self._exchange(tensor)
            value = self._value_of(tensor)
        storage = value.storage
        if value.version == len(storage.writes):
            return tensor, value
        renewed = self._new_value(tensor)
        arguments = (value, tuple(storage.writes[value.version :]), _geometry(tensor))
        self._operations.append(Operation(REREAD, arguments, {}, (renewed,), self._open or 0))
        return tensor, renewed

    def _has_numbers(self, tensor: Tensor) -> bool:
        """Whether the numbers of a tensor are still those that it has, on a run that computes none."""
        if not self._is_meta or tensor.is_meta or id(tensor) in self._stand_ins:
            return False
        _, stand_in = self._exchanged.get(id(tensor), (None, None))
        return stand_in is None or not self._storage_of(stand_in).writes

    def _exchange(self, tensor: Tensor) -> Tensor:
        """What stands for a tensor that no operation has given: a stand-in of a weight, or a meta tensor."""
        found = self._stand_ins.get(id(tensor))
        if found is None and self._is_meta and not tensor.is_meta:
            _, found = self._exchanged.setdefault(id(tensor), (tensor, _empty(_spec(tensor))))
        return tensor if found is None else found

    def _value_of(self, tensor: Tensor) -> Value:
        value: Value | None = getattr(tensor, "_nas_value", None)
        if value is not None:
            return value
        if id(tensor) in self._foreign:
            return self._foreign[id(tensor)][1]
        return self._new_value(tensor, is_kept=self._storages.find(tensor.untyped_storage()) is None)

    def _made(self, tensor: Tensor) -> Value:
        """The value of what an operation has given; it may be a tensor with numbers still (`torch.tensor`)."""
        return self._new_value(tensor) if not self._is_meta or tensor.is_meta else self._read(tensor)[1]

    def _storage_of(self, tensor: Tensor, *, is_weight: bool = False) -> Storage:
        memory = tensor.untyped_storage()
        storage = self._storages.find(memory)
        if storage is None:
            storage = Storage(memory.nbytes(), is_weight)
            self._storages.add(memory, storage)
        return storage

    def _new_value(
        self, tensor: Tensor, *, is_weight: bool = False, is_kept: bool = False, version: int | None = None
    ) -> Value:
        storage = self._storage_of(tensor, is_weight=is_weight)
        written = len(storage.writes) if version is None else version
        value = Value(self._values, _spec(tensor), storage, written)
        self._values += 1
        if is_kept or id(tensor) in self._foreign:
            # It is the user's, who shall find nothing of ours on it.
            self._foreign[id(tensor)] = tensor, value
        else:
            tensor._nas_value = value  # type: ignore[attr-defined]
        return value


def tensors_in(structure: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dictionaries, and in the fields of objects that models give."""
    if isinstance(structure, Tensor):
        yield structure
    elif isinstance(structure, Mapping):
        yield from tensors_in(tuple(structure.values()))
    elif isinstance(structure, list | tuple):
        for part in structure:
            yield from tensors_in(part)
    elif is_dataclass(structure) and not isinstance(structure, type):
        yield from tensors_in(tuple(vars(structure).values()))


def _spec(tensor: Tensor) -> tuple[torch.Size, tuple[int, ...], torch.dtype]:
    return tensor.shape, tensor.stride(), tensor.dtype


def _empty(spec: Any) -> Tensor:
    shape, stride, number_type = spec
    return torch.empty_strided(shape, stride, dtype=number_type, device="meta")


def _geometry(tensor: Tensor) -> Geometry:
    return tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset())


def _key(arguments: Any) -> tuple[Any, ...]:
    """Equal for arguments from which an operation gives tensors of equal specs; 1, 1.0 and True are not equal."""
    return tuple(
        [
            argument.spec
            if isinstance(argument, Value)
            else _key(argument)
            if isinstance(argument, tuple)
            else (type(argument), argument)
            for argument in arguments
        ]
    )
