"""How long a network takes in inference, measured on this machine, and what this machine can do at most."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from analysis.cost import ELEMENT_BYTES
from analysis.device_profile import DeviceProfile
from analysis.torch_model.lending import lent, stand_ins_for
from analysis.torch_model.run import Input, make_input, reason, stand_in
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError, unknown_name
from search_spaces.ops import Shape
from search_spaces.torch_module import to_module

DEVICES = ("cpu", "cuda")

WARM_UP_SECONDS = 3.0
"""Warming up ends when two looks at the time agree within a twentieth, or after so long."""
MEASURING_SECONDS = 5.0
LEAST_REPEATS = 5
MOST_REPEATS = 50


@dataclass(frozen=True, slots=True)
class Latency:
    """The time of one pass: the median of all repeats, and between what the middle half of them lies."""

    median_ms: float
    low_ms: float
    high_ms: float
    repeats: int
    device: str
    threads: int

    def to_dict(self) -> dict[str, Any]:
        """The latency under its JSON names."""
        return asdict(self)


def measure_latency(
    network: Architecture | nn.Module,
    *,
    input_shapes: tuple[Shape, ...] = (),
    input_dtypes: tuple[str | None, ...] = (),
    device: str = "cpu",
    batch: int = 1,
    dtype: str = "float32",
) -> Latency:
    """Runs the network in inference on random inputs until it is warm, then as often as fits into some seconds.

    `input_shapes` (without batch) may be left out for an architecture, whose weights are random. `input_dtypes` names
    the number types of inputs that are not of the type `dtype`; whole numbers are all 0. A torch model is run with its
    own weights, and is afterwards as it was.

    Raises:
        UserError: there is no such device here, or the network does not run on it with such inputs.
    """
    _check(device, dtype)
    if isinstance(network, Architecture):
        input_shapes = input_shapes or network.input_shapes
        network = to_module(network)
    number_type = getattr(torch, dtype)
    types = [*input_dtypes, *[None] * (len(input_shapes) - len(input_dtypes))]
    specs = map(Input, input_shapes, types)
    try:
        inputs = [make_input(spec, batch, number_type, device) for spec in specs]
    except (RuntimeError, TypeError) as error:
        raise UserError(f"the inputs do not fit into memory: {reason(error)}; give a smaller --batch") from None
    module = network
    weights = stand_ins_for(module, lambda tensor, is_parameter: stand_in(tensor, is_parameter, device, number_type))
    with lent(module, weights, training=False), torch.inference_mode():
        try:
            times_ms = _repeat(lambda: module(*inputs), device)
        except (RuntimeError, NotImplementedError, SystemExit) as error:
            raise UserError(f"the network does not run on {device} in {dtype}: {reason(error)}") from None
    low, median, high = statistics.quantiles(times_ms, n=4)
    return Latency(median, low, high, len(times_ms), _name(device), torch.get_num_threads())


def measure_profile(device: str = "cpu", *, dtype: str = "float32") -> DeviceProfile:
    """What this machine does at most, as far as one large matrix product and one large copy show it.

    Raises:
        UserError: there is no such device here, or it cannot multiply matrices of this type.
    """
    _check(device, dtype)
    number_type = getattr(torch, dtype)
    size = 8_192 if device == "cuda" else 1_024
    left, right = (torch.rand(size, size, device=device).to(number_type) for _ in range(2))
    source = torch.rand((256 if device == "cuda" else 32) * 2**20, device=device)
    target = torch.empty_like(source)
    try:
        product_ms = min(_repeat(lambda: torch.mm(left, right), device))
    except (RuntimeError, NotImplementedError) as error:
        raise UserError(f"this machine does not multiply matrices of {dtype} on {device}: {reason(error)}") from None
    copy_ms = min(_repeat(lambda: target.copy_(source), device))
    return DeviceProfile(
        name=_name(device),
        flops_per_second={dtype: 2 * size**3 / product_ms * 1e3},
        bytes_per_second=2 * source.numel() * source.element_size() / copy_ms * 1e3,
        source="measured: a matrix product and a copy",
    )


def _check(device: str, dtype: str) -> None:
    if device not in DEVICES:
        raise UserError(f"unknown device {device!r}; choose one of: {', '.join(DEVICES)}")
    if dtype not in ELEMENT_BYTES:
        raise unknown_name("number type", dtype, ELEMENT_BYTES)
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "this machine has no CUDA device that torch can use; measure on cpu, or estimate with a profile"
        )


def _name(device: str) -> str:
    return (
        torch.cuda.get_device_name() if device == "cuda" else f"this machine's CPU, {torch.get_num_threads()} threads"
    )


def _repeat(run: Callable[[], Any], device: str) -> list[float]:
    """The times in ms of repeated runs, after as many as it takes to be warm."""

    def timed() -> float:
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start)

    start = time.perf_counter()
    before, now = float("inf"), timed()
    while abs(now - before) > 0.05 * now and time.perf_counter() - start < WARM_UP_SECONDS:
        before, now = now, statistics.median(timed() for _ in range(3))
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < LEAST_REPEATS or (len(times) < MOST_REPEATS and time.perf_counter() - start < MEASURING_SECONDS):
        times.append(timed())
    return times
