"""How many random NAS-Bench-201 networks are elaborated and analysed in a second on one core, with fvcore beside it.

    python benchmarks/analysis_speed.py [--networks 3000] [--fvcore-networks 20] [--seed 0] [--json]

Ours is timed from drawing the cell to the finished report, the layer table left out. What it remembers of cells met
before stays, as it would in a search, so the output tells how many of the networks were distinct. fvcore is timed on
some of the same networks, on modules built beforehand, without gradients: its `FlopCountAnalysis` counts one figure by
tracing the network once. Both must count the same, or the script fails. Seconds are those of the processor, with one
thread, so that other work on the machine falsifies little.
"""

import argparse
import datetime
import gc
import json
import os
import platform
import random
import time
from pathlib import Path
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis

from analysis import Report, analyze
from search_spaces import load, to_module


def cpu_model() -> str:
    """The name of the processor, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def elaborate_and_analyse(count: int, seed: int, *, keep: int) -> tuple[list[Report], int, float]:
    """The first `keep` reports of `count` random networks, how many were distinct, and the processor seconds."""
    space = load("nasbench201")
    rng = random.Random(seed)
    kept: list[Report] = []
    hashes: set[int] = set()
    start = time.process_time()
    for _ in range(count):
        report = analyze(space.sample(rng=rng))
        hashes.add(hash(report.architecture))
        if len(kept) < keep:
            kept.append(report)
    return kept, len(hashes), time.process_time() - start


def count_with_fvcore(reports: list[Report]) -> float:
    """The processor seconds that fvcore takes to count these networks."""
    seconds = 0.0
    with torch.no_grad():
        for report in reports:
            module = to_module(report.architecture).eval()
            x = torch.zeros((1, *report.architecture.input_shapes[0]))
            start = time.process_time()
            counted = FlopCountAnalysis(module, x)
            counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            total = counted.total()
            seconds += time.process_time() - start
            if total != report.fvcore_flops:
                raise SystemExit(f"fvcore counts {total}, the report says {report.fvcore_flops}: {report}")
    return seconds


def measure(networks: int, fvcore_networks: int, seed: int) -> dict[str, Any]:
    """Everything that the script prints."""
    torch.set_num_threads(1)
    count_with_fvcore(elaborate_and_analyse(1, seed + 1, keep=1)[0])
    # The garbage collector shall not look through all that torch has imported in the time that is measured.
    gc.collect()
    gc.freeze()
    reports, distinct, seconds = elaborate_and_analyse(networks, seed, keep=fvcore_networks)
    fvcore_seconds = count_with_fvcore(reports)
    rate = networks / seconds
    fvcore_rate = fvcore_networks / fvcore_seconds
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "networks": networks,
        "distinct_networks": distinct,
        "networks_per_second": round(rate, 1),
        "fvcore_networks": fvcore_networks,
        "fvcore_networks_per_second": round(fvcore_rate, 2),
        "ratio": round(rate / fvcore_rate, 1),
    }


def main() -> None:
    """Reads the command line, measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--networks", type=int, default=3_000, help="how many we analyse")
    parser.add_argument("--fvcore-networks", type=int, default=20, help="how many of them fvcore counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if not 1 <= arguments.fvcore_networks <= arguments.networks:
        parser.error("--fvcore-networks must be between 1 and --networks")
    result = measure(arguments.networks, arguments.fvcore_networks, arguments.seed)
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{result['date']}, {result['cpu']}, {result['cores']} cores, load {result['load_average']}")
    print(f"{result['platform']}, Python {result['python']}, torch {result['torch']}")
    print(
        f"elaborated and analysed: {result['networks_per_second']:>10,.1f} networks/s "
        f"({result['networks']} networks, {result['distinct_networks']} distinct)"
    )
    print(
        f"counted by fvcore:       {result['fvcore_networks_per_second']:>10,.2f} networks/s "
        f"({result['fvcore_networks']} networks)"
    )
    print(f"ratio:                   {result['ratio']:>10,.1f}")


if __name__ == "__main__":
    main()
