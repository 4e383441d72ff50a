"""Runs an exported `model.py` on its own and keeps its outputs: a script for a clean process, never imported by nas.

Its arguments are the paths of the model, its weights, the inputs (an `.npz` file of one array for each input) and the
outputs, which are written likewise.
"""

import importlib.util
import sys

import numpy as np
import torch

_NAS = {"nas", "workers", "analysis", "db", "search_spaces"}
_BATCH_SIZE = 256


def main(model_path: str, weights_path: str, inputs_path: str, outputs_path: str) -> None:
    """Loads the model with its weights, and writes what it gives for the inputs."""
    spec = importlib.util.spec_from_file_location("model", model_path)
    assert spec is not None and spec.loader is not None
    model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model)
    network = model.load(weights_path)
    with np.load(inputs_path, allow_pickle=False) as arrays:
        inputs = [torch.from_numpy(arrays[name]) for name in arrays.files]
    with torch.inference_mode():
        batches = [
            network(*batch) for batch in zip(*[torch.split(values, _BATCH_SIZE) for values in inputs], strict=True)
        ]
    if isinstance(batches[0], torch.Tensor):
        batches = [(batch,) for batch in batches]
    outputs = [torch.cat(parts).numpy() for parts in zip(*batches, strict=True)]
    np.savez(outputs_path, *outputs)
    imported = _NAS & {name.partition(".")[0] for name in sys.modules}
    if imported:
        sys.exit(f"it imports {', '.join(sorted(imported))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
