"""What torch's own tracker finds on meta tensors: the most memory of an inference or of training steps."""

import torch
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn import functional

from search_spaces import Architecture, to_module

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1),
}


def tracked_inference_bytes(architecture: Architecture, batch: int) -> int:
    with torch.device("meta"):
        module = to_module(architecture).eval()
        inputs = [torch.empty(batch, *shape) for shape in architecture.input_shapes]
    tracker = MemTracker()
    tracker.track_external(module, *inputs)
    with tracker, torch.no_grad():
        module(*inputs)
    return peak_bytes(tracker, "meta")


def tracked_training_bytes(
    architecture: Architecture, batch: int, optimizer: str, *, device: str = "meta", mixed_precision: bool = False
) -> int:
    """Two steps with the cross entropy of every output; in the second one the optimiser has its state."""
    with torch.device(device):
        module = to_module(architecture)
        inputs = [torch.rand(batch, *shape) for shape in architecture.input_shapes]
        labels = torch.zeros(batch, dtype=torch.long)
    optimiser = OPTIMIZERS[optimizer](module.parameters())
    tracker = MemTracker()
    tracker.track_external(module, optimiser, *inputs, labels)
    with tracker:
        for _ in range(2):
            tracker.reset_mod_stats()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed_precision):
                outputs = module(*inputs)
                outputs = outputs if isinstance(outputs, tuple) else (outputs,)
                loss = sum(functional.cross_entropy(output.flatten(1), labels) for output in outputs)
            del outputs
            loss.backward()
            del loss
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
    return peak_bytes(tracker, device)


def peak_bytes(tracker: MemTracker, device: str) -> int:
    return int(tracker.get_tracker_snapshot("peak")[torch.device(device)]["Total"])
