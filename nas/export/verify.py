"""Proves an exported `model.py`: loads it in a clean process and compares its outputs with those of our own module.

A model without weights is compared with seeded ones, whose batch norms have seen data first; else a deep network
gives little but its last bias, whatever stands before it.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from nas.export import clean_process
from nas.export.exporter import WEIGHTS_FILE, Model, NotVerified
from search_spaces.architecture import Architecture
from search_spaces.errors import UserError
from search_spaces.ops import Shape
from search_spaces.torch_module import to_module

Array = np.ndarray[Any, Any]

MODEL_FILE = "model.py"

TOLERANCE = 1e-5
"""The largest difference allowed between two outputs, as a part of the largest of them (or of 1)."""

_SAMPLES = 16


def clean_outputs(directory: Path, *inputs: Array, weights: Path | None = None) -> tuple[Array, ...]:
    """What the `model.py` in `directory` gives for `inputs`, (N, *shape) each, in a process that knows nothing of nas.

    The weights are those beside it unless told.

    Raises:
        NotVerified: it cannot be loaded or run, or it imports a package of nas.
    """
    with TemporaryDirectory() as scratch:
        given, found = Path(scratch) / "inputs.npz", Path(scratch) / "outputs.npz"
        np.savez(given, *[np.ascontiguousarray(array, dtype=np.float32) for array in inputs])
        paths = (directory / MODEL_FILE, weights or directory / WEIGHTS_FILE, given, found)
        # -I: neither the environment nor the working directory adds to the path; -B: no __pycache__ beside the model.
        command = [sys.executable, "-I", "-B", str(clean_process.__file__), *(str(path.absolute()) for path in paths)]
        ended = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if ended.returncode:
            reason = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
            raise NotVerified(f"{MODEL_FILE} does not run on its own: {reason}")
        with np.load(found, allow_pickle=False) as arrays:
            return tuple(arrays[name] for name in arrays.files)


def clean_accuracy(directory: Path, images: Array, labels: Array) -> float:
    """The part of `images` (N, channels, *spatial) that the exported model and weights, run on their own, label right.

    Raises:
        NotVerified: as for `clean_outputs`.
    """
    (scores,) = clean_outputs(directory, images)
    return float(np.mean(scores.argmax(axis=1) == labels))


def verify_model_file(model: Model, directory: Path) -> None:
    """Compares the `model.py` in `directory`, run in a clean process, with our own module.

    Raises:
        NotVerified: it does not run, or an output differs by more than `TOLERANCE`.
        UserError: the weights or inputs of the model do not fit its architecture.
    """
    module = reference_module(model)
    inputs = _inputs(model)
    with torch.inference_mode():
        result = module(*map(torch.from_numpy, inputs))
    expected = [tensor.numpy() for tensor in ((result,) if isinstance(result, Tensor) else result)]
    if model.weights is None:
        with TemporaryDirectory() as scratch:
            weights = Path(scratch) / WEIGHTS_FILE
            weights.write_bytes(save(module.state_dict()))
            found = clean_outputs(directory, *inputs, weights=weights)
    else:
        found = clean_outputs(directory, *inputs)
    for number, (ours, theirs) in enumerate(zip(expected, found, strict=True)):
        if ours.shape != theirs.shape:
            raise NotVerified(f"output {number} of {MODEL_FILE} has shape {theirs.shape}, should have {ours.shape}")
        difference = float(np.abs(ours - theirs).max())
        # Written so that an undefined difference is refused too.
        if not difference <= TOLERANCE * max(1.0, float(np.abs(ours).max())):
            raise NotVerified(f"output {number} of {MODEL_FILE} is off by {difference:g}")


def reference_module(model: Model) -> nn.Module:
    """Our own module in evaluation mode, with the model's weights or else with seeded ones and calibrated batch norms.

    Raises:
        UserError: the weights do not fit the architecture, or it is too large for this machine.
    """
    _refuse_too_large(model.architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = to_module(model.architecture)
        if model.weights is None:
            _calibrate(module, model.architecture)
    if model.weights is not None:
        check_weights(model.architecture, model.weights)
        module.load_state_dict(load(model.weights))
    return module.eval()


def check_weights(architecture: Architecture, weights: bytes) -> None:
    """Refuses weights whose names or shapes are not those of the architecture.

    Raises:
        UserError: saying which tensor is missing, too many or of another shape.
    """
    try:
        given = {name: tuple(tensor.shape) for name, tensor in load(weights).items()}
    except (SafetensorError, KeyError) as error:
        # A KeyError is a number type that safetensors knows and torch does not.
        raise UserError(f"the weights are not a safetensors file of ours: {error}; give one that nas wrote") from None
    with torch.device("meta"):
        needed = {name: tuple(tensor.shape) for name, tensor in to_module(architecture).state_dict().items()}
    for name in sorted(given.keys() | needed.keys()):
        if given.get(name) != needed.get(name):
            found, wanted = (f"shape {shapes[name]}" if name in shapes else "nothing" for shapes in (given, needed))
            raise UserError(
                f"the weights do not fit the architecture: {name!r} is {found} there, {wanted} here; "
                "give the weights of this architecture"
            )


def _refuse_too_large(architecture: Architecture) -> None:
    """Refuses what this process and the clean one cannot both hold: a few lines can name any number of weights."""
    with torch.device("meta"):
        needed = 2 * sum(tensor.nbytes for tensor in to_module(architecture).state_dict().values())
    free = psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"a network whose weights take {needed // 2:,} bytes cannot be verified with {free:,} bytes of free memory; "
            "export it elsewhere, or as json alone"
        )


def random_inputs(shapes: tuple[Shape, ...], *, seed: int) -> tuple[Array, ...]:
    """Normally distributed inputs of these shapes, 16 of each, always the same for a seed."""
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal((_SAMPLES, *shape), dtype=np.float32) for shape in shapes)


def _inputs(model: Model) -> tuple[Array, ...]:
    shapes = model.architecture.input_shapes
    if model.inputs is None:
        return random_inputs(shapes, seed=1)
    found = tuple(array.shape[1:] for array in model.inputs)
    if found != shapes:
        raise UserError(
            f"inputs to verify the export with have the shapes {found} behind the batch axis, need {shapes}"
        )
    return tuple(np.array(array, dtype=np.float32, order="C") for array in model.inputs)


def _calibrate(module: nn.Module, architecture: Architecture) -> None:
    """Lets every batch norm take the mean and variance of random inputs as its running statistics."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.momentum = None  # torch's word for an average over all batches
    with torch.no_grad():
        for seed in (2, 3):
            module.train()(*map(torch.from_numpy, random_inputs(architecture.input_shapes, seed=seed)))
