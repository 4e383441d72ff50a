"""How long the report on a foreign torch model takes, with one forward pass under torch's `FlopCounterMode` beside it.

    python benchmarks/torch_model_speed.py [--rounds 7] [--json]

- Ours is `analysis.analyze` of a module with its weights on the CPU, from the module to the finished report, in which
  layers and the memory of training are worked out when asked for. `first` has nothing remembered of shapes that were
  met before; `again` has them all. The layers are timed besides.
- The peer is a forward pass of the same model on the meta device, in evaluation mode and without gradients, under
  `FlopCounterMode(display=False)`. It must count what we count, or the script fails; attention, which it does not know
  on a CPU, is made of plain products here.

Both take turns; seconds are those of the processor, with one thread, the median of all rounds.
"""

import argparse
import copy
import gc
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from machine import machine, machine_line
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from analysis import analyze
from analysis.torch_model import recorder
from search_spaces import to_module, zoo


def encoder() -> nn.Module:
    """A transformer encoder of 12 layers, of the size of BERT-base."""
    layer = nn.TransformerEncoderLayer(768, 12, 3_072, batch_first=True)
    return nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet50": (lambda: to_module(zoo.load("resnet50")), (3, 224, 224)),
    "densenet121": (lambda: to_module(zoo.load("densenet121")), (3, 224, 224)),
    "transformer encoder, 12 layers": (encoder, (128, 768)),
}


def milliseconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """The processor time of a call, and what it gives."""
    start = time.process_time()
    result = run()
    return 1e3 * (time.process_time() - start), result


def measure(name: str, rounds: int) -> dict[str, float]:
    """The times for one model, in ms, and their ratios to the peer's."""
    make, shape = MODELS[name]
    model = make()
    on_meta = copy.deepcopy(model).to("meta").eval()
    x = torch.empty((1, *shape), device="meta")

    def count() -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            on_meta(x)
        return counter.get_total_flops()

    found: dict[str, list[float]] = {"first": [], "again": [], "layers": [], "flop_counter": []}
    for turn in range(rounds + 1):
        recorder.SPECS.clear()
        first, report = milliseconds(lambda: analyze(model, input_shape=shape))
        again, _ = milliseconds(lambda: analyze(model, input_shape=shape))
        layers, _ = milliseconds(lambda known=report: known.layers)
        peer, flops = milliseconds(count)
        if flops != report.flops:
            raise SystemExit(f"{name}: FlopCounterMode counts {flops}, the report says {report.flops}")
        if turn:  # The first round is for warming up.
            for times, value in zip(found.values(), (first, again, layers, peer), strict=True):
                times.append(value)
    result = {f"{key}_ms": round(median(times), 2) for key, times in found.items()}
    for key in ("first", "again"):
        result[f"{key}_ratio"] = round(median(found[key]) / median(found["flop_counter"]), 3)
    return result


def main() -> None:
    """Reads the command line, measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    results: dict[str, Any] = {name: measure(name, arguments.rounds) for name in MODELS}
    if arguments.json:
        print(json.dumps({**machine(), "torch": torch.__version__, "models": results}))
        return
    print(f"{machine_line()}, torch {torch.__version__}")
    for name, times in results.items():
        print(
            f"{name:<31} first {times['first_ms']:>7} ms ({times['first_ratio']} of FlopCounterMode's "
            f"{times['flop_counter_ms']} ms), again {times['again_ms']:>6} ms ({times['again_ratio']}), "
            f"layers {times['layers_ms']} ms"
        )


if __name__ == "__main__":
    main()
