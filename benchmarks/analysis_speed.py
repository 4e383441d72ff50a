"""How fast networks are elaborated and analysed on one core, with fvcore and ptflops beside it.

    python benchmarks/analysis_speed.py [--networks 5000] [--peer-networks 20] [--seed 0] [--profile] [--json]

- Random NAS-Bench-201 networks, from drawing the cell to the finished report, the layer table left out; and as many
  others that are built beforehand, where only the analysis is timed. What is remembered of networks met before stays,
  as it would in a search, so the output tells how many were distinct.
- fvcore (`FlopCountAnalysis`) and ptflops (its aten backend) on some of the same networks, without gradients. Their
  modules are built beforehand, so the ratios are to our analysis of networks built beforehand. fvcore must count the
  same operations, ptflops the same parameters, or the script fails. ptflops is left out where it is not installed.
- `analyze_batch` on random rows, the making of the space's slots included; some rows are checked against `analyze`.
- ResNet-152: the first in a new process, the import of what `zoo.load` needs with it and apart, and again with nothing
  remembered.

Seconds are those of the processor, with one thread, so that other work on the machine falsifies little. `--profile`
tells where the time of a network goes, by clocks around the parts, which cost some time themselves.
"""

import argparse
import functools
import gc
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy
import torch
from fvcore.nn import FlopCountAnalysis
from machine import machine, machine_line

import analysis.totals
from analysis import Report, analyze, analyze_batch
from search_spaces import load, to_module, zoo
from search_spaces.choices import RandomChooser
from search_spaces.slots import Slots

ROUNDS = 10
"""How often we and the peers take turns."""

FIRST_RESNET = """
import json, time
import analysis
from search_spaces import zoo
def milliseconds(began):
    return 1000 * (time.process_time() - began)
began = time.process_time()
import search_spaces.zoo.resnet
imported = milliseconds(began)
began = time.process_time()
analysis.analyze(zoo.load("resnet152"))
print(json.dumps([imported, milliseconds(began)]))
"""


def elaborate_and_analyse(count: int, rng: random.Random, *, keep: int) -> tuple[list[Report], float]:
    """The first `keep` reports of `count` random networks, and the processor seconds for all."""
    space = load("nasbench201")
    kept: list[Report] = []
    start = time.process_time()
    for _ in range(count):
        report = analyze(space.sample(rng=rng))
        if len(kept) < keep:
            kept.append(report)
    return kept, time.process_time() - start


def analyse(count: int, rng: random.Random) -> float:
    """The processor seconds for the analysis alone of `count` random networks, each built before the clock starts."""
    space = load("nasbench201")
    seconds = 0.0
    for _ in range(count):
        network = space.sample(rng=rng)
        start = time.process_time()
        analyze(network)
        seconds += time.process_time() - start
    return seconds


def distinct_networks(count: int, seed: int) -> int:
    """How many of the same random networks are distinct."""
    space = load("nasbench201")
    rng = random.Random(seed)
    return len({space.sample(rng=rng) for _ in range(count)})


def fvcore_operations(module: torch.nn.Module, x: torch.Tensor) -> int:
    """What fvcore counts in a network."""
    counted = FlopCountAnalysis(module, x)
    counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    return int(counted.total())


def ptflops_parameters(module: torch.nn.Module, x: torch.Tensor) -> int:
    """The parameters that ptflops counts; its multiplications too, but by rules of its own."""
    from ptflops import get_model_complexity_info

    _, parameters = get_model_complexity_info(
        module, tuple(x.shape[1:]), as_strings=False, print_per_layer_stat=False, verbose=False, backend="aten"
    )
    return int(parameters)


PEERS: dict[str, tuple[Callable[[torch.nn.Module, torch.Tensor], int], str]] = {
    "fvcore": (fvcore_operations, "fvcore_flops"),
    "ptflops": (ptflops_parameters, "params"),
}
"""What a peer counts, and the figure of a report that is the same."""


def peer_seconds(peer: str, reports: list[Report]) -> float:
    """The processor seconds that a peer takes to count these networks."""
    count, figure = PEERS[peer]
    seconds = 0.0
    with torch.no_grad():
        for report in reports:
            module = to_module(report.architecture).eval()
            x = torch.zeros((1, *report.architecture.input_shapes[0]))
            start = time.process_time()
            counted = count(module, x)
            seconds += time.process_time() - start
            if counted != getattr(report, figure):
                raise SystemExit(f"{peer} counts {counted}, the report says {getattr(report, figure)}: {report}")
    return seconds


def has_ptflops() -> bool:
    """Whether ptflops can be used; a torchvision that was not made for this torch must not hinder it."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        sys.modules["torchvision"] = None  # type: ignore[assignment]
    return find_spec("ptflops") is not None


def batch_rate(networks: int, seed: int) -> float:
    """Networks a second by `analyze_batch`, from a space whose slots are not made yet."""
    # A number of classes that no other measurement has.
    space = load("nasbench201", classes=1_000 + networks % 1_000)
    choices = numpy.random.default_rng(seed).integers(0, 5, (networks, 6))
    start = time.process_time()
    reports = analyze_batch(space, choices)
    seconds = time.process_time() - start
    slots = space.slots()
    for index in range(0, networks, networks // 200):
        answers = [domain.options[position] for domain, position in zip(slots.domains, choices[index], strict=True)]
        expected = analyze(slots.fill(answers)).figures()
        found = {name: int(column[index]) for name, column in reports.figures().items()}
        if found != expected:
            raise SystemExit(f"analyze_batch finds {found} for {answers}, analyze {expected}")
    return networks / seconds


def forget() -> None:
    """Empties every table of what has been worked out or built."""
    for found in gc.get_objects():
        if isinstance(found, functools._lru_cache_wrapper) and found.__module__.startswith(
            ("analysis.", "search_spaces.")
        ):
            found.cache_clear()


def resnet_milliseconds(repeats: int) -> dict[str, float]:
    """Processor milliseconds for ResNet-152: the median over `repeats` new processes, and here with nothing remembered."""
    command = [sys.executable, "-c", FIRST_RESNET]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with TemporaryDirectory() as bytecode:
        # The first process compiles the modules, as an installation does, and is not counted.
        environment["PYTHONPYCACHEPREFIX"] = bytecode
        runs = [subprocess.run(command, env=environment, check=True, capture_output=True) for _ in range(repeats + 1)]
    first = [json.loads(run.stdout) for run in runs[1:]]
    again = []
    for _ in range(repeats):
        forget()
        start = time.process_time()
        analyze(zoo.load("resnet152"))
        again.append(1_000 * (time.process_time() - start))
    return {
        "resnet152_first_ms": round(median(milliseconds for _, milliseconds in first), 2),
        "resnet152_first_with_import_ms": round(median(map(sum, first)), 2),
        "resnet152_again_ms": round(median(again), 2),
    }


@contextmanager
def clocks(owner: Any, names: tuple[str, ...], seconds: dict[str, float]) -> Iterator[None]:
    """Adds up in `seconds` the time within the functions of these names, none of which calls another of them."""
    originals = {name: getattr(owner, name) for name in names}

    def timed(name: str) -> Callable[..., Any]:
        original, clock = originals[name], time.perf_counter

        def call(*arguments: Any) -> Any:
            start = clock()
            result = original(*arguments)
            seconds[name] = seconds.get(name, 0.0) + clock() - start
            return result

        return call

    for name in names:
        setattr(owner, name, timed(name))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(owner, name, original)


def profile(networks: int, seed: int) -> dict[str, float]:
    """Microseconds a network in each part of the work; clocks see other programs too, so the quickest of the rounds."""
    rounds = [_profile_round(networks // ROUNDS, seed + number) for number in range(ROUNDS)]
    return min(rounds, key=lambda parts: sum(parts.values()))


def _profile_round(networks: int, seed: int) -> dict[str, float]:
    space = load("nasbench201")
    slots: Slots = space.slots()
    chooser = RandomChooser(rng=random.Random(seed))
    seconds: dict[str, float] = {}
    clock = time.perf_counter
    with clocks(analysis.totals, ("graph_cost", "graph_storage", "graph_paths"), seconds):
        for _ in range(networks):
            times = [clock()]
            answers = [chooser.decide(domain) for domain in slots.domains]
            times.append(clock())
            architecture = slots.fill(answers)
            times.append(clock())
            analyze(architecture)
            times.append(clock())
            hash(architecture)
            times.append(clock())
            for part, begin, end in zip(("choices", "fill", "analyze", "hash"), times, times[1:], strict=False):
                seconds[part] = seconds.get(part, 0.0) + end - begin
    total = seconds.pop("analyze")
    parts = {"cost": "graph_cost", "memory": "graph_storage", "paths": "graph_paths"}
    inner = {part: seconds.pop(name) for part, name in parts.items()}
    named = {
        "elaboration: choices": seconds["choices"],
        "elaboration: build, valid as the slots are": seconds["fill"],
        **{f"analysis: {part}": value for part, value in inner.items()},
        "analysis: the walk over the nodes": total - sum(inner.values()),
        "not in the rate: hash": seconds["hash"],
    }
    return {part: round(1e6 * value / networks, 2) for part, value in named.items()}


def measure(networks: int, peer_networks: int, seed: int) -> dict[str, Any]:
    """Everything that the script prints."""
    torch.set_num_threads(1)
    peers = [peer for peer in PEERS if peer != "ptflops" or has_ptflops()]
    warm_up, _ = elaborate_and_analyse(1, random.Random(seed + 1), keep=1)
    for peer in peers:
        peer_seconds(peer, warm_up)
    # The garbage collector shall not look through all that torch has imported in the time that is measured.
    gc.collect()
    gc.freeze()
    # We and the peers take turns, so that a machine that is slow for some seconds is so for all.
    rng = random.Random(seed)
    seconds = dict.fromkeys(("elaboration and analysis", "analysis", *peers), 0.0)
    for _ in range(ROUNDS):
        reports, own_seconds = elaborate_and_analyse(networks // ROUNDS, rng, keep=peer_networks // ROUNDS)
        seconds["elaboration and analysis"] += own_seconds
        seconds["analysis"] += analyse(networks // ROUNDS, rng)
        for peer in peers:
            seconds[peer] += peer_seconds(peer, reports)
    analysis_rate = networks / seconds["analysis"]
    result = {
        **machine(),
        "torch": torch.__version__,
        "networks": networks,
        "distinct_networks": distinct_networks(networks, seed),
        "networks_per_second": round(networks / seconds["elaboration and analysis"], 1),
        "analysed_per_second": round(analysis_rate, 1),
        "peer_networks": peer_networks,
    }
    for peer in peers:
        peer_rate = peer_networks / seconds[peer]
        result[f"{peer}_networks_per_second"] = round(peer_rate, 2)
        result[f"{peer}_ratio"] = round(analysis_rate / peer_rate, 1)
    for size in (15_625, 100_000):
        result[f"batch_{size}_networks_per_second"] = round(batch_rate(size, seed))
    return {**result, **resnet_milliseconds(repeats=7)}


def main() -> None:
    """Reads the command line, measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--networks", type=int, default=5_000, help="how many we analyse")
    parser.add_argument("--peer-networks", type=int, default=20, help="how many of them fvcore and ptflops count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", action="store_true", help="tell where the time goes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    for count in (arguments.networks, arguments.peer_networks):
        if count < ROUNDS or count % ROUNDS or count > arguments.networks:
            parser.error(f"--networks and --peer-networks must be multiples of {ROUNDS}, the second not the larger")
    result = measure(arguments.networks, arguments.peer_networks, arguments.seed)
    if arguments.profile:
        result["microseconds_per_network"] = profile(arguments.networks, arguments.seed)
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{machine_line()}, torch {result['torch']}")
    print(
        f"elaborated and analysed:  {result['networks_per_second']:>10,.1f} networks/s "
        f"({result['networks']} networks, {result['distinct_networks']} distinct)"
    )
    print(f"built before, analysed:   {result['analysed_per_second']:>10,.1f} networks/s")
    for peer in PEERS:
        if f"{peer}_ratio" in result:
            print(
                f"{f'counted by {peer}:':<25} {result[f'{peer}_networks_per_second']:>10,.2f} networks/s "
                f"({result['peer_networks']} networks), ratio {result[f'{peer}_ratio']:,.1f}"
            )
    for size in (15_625, 100_000):
        print(
            f"{f'batch of {size:,}:':<25} {result[f'batch_{size}_networks_per_second']:>10,} networks/s, set-up included"
        )
    print(
        f"ResNet-152:               {result['resnet152_first_ms']} ms the first in a process "
        f"({result['resnet152_first_with_import_ms']} ms with the import of its modules), "
        f"{result['resnet152_again_ms']} ms later with nothing remembered"
    )
    for part, microseconds in result.get("microseconds_per_network", {}).items():
        print(f"  {part:<45} {microseconds:>7} µs")


if __name__ == "__main__":
    main()
