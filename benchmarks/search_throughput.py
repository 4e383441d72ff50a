"""How many trials a second go through session, database and Ray, beside plain Ray Tune and plain Optuna.

    python benchmarks/search_throughput.py [--trials 1000] [--long 10000] [--tune 200] [--json FILE]

The objective costs nothing (`trivial.py`), so what is timed is what surrounds a trial. With two workers each:

- `nas`: `nas.search` with the random controller, its SQLite database and `ray_pool`, from the first trial that is
  recorded to the last; also the whole run, with the start and the end of Ray.
- `nas`, `--long` trials: the last thousand beside the first thousand that a started search records.
- `tune`: `tune.Tuner` with Optuna's TPE as searcher (`OptunaSearch`), a class trainable and reused actors.
- `optuna`: `study.optimize` of the same objective in one process, in memory and on its SQLite storage.

Machines are noisy: compare the ratios, which are printed.
"""

import argparse
import json
import logging
import os
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import trivial
from machine import machine_line

import nas
from nas.progress import Progress

WORKERS = 2
SETTLED = 100
"""Trials after which a started search is in its stride."""


def our_search(trials: int, executor: str = "ray") -> tuple[list[float], float]:
    """When each number of trials was recorded, and the seconds of the whole run."""
    marks: list[float] = []

    def watch(progress: Progress) -> None:
        while len(marks) < progress.finished:
            marks.append(time.perf_counter())

    begun = time.perf_counter()
    nas.search(
        space="trivial:Widths",
        evaluator="trivial:TrivialEvaluator",
        controller="random",
        objectives=("score:max",),
        trials=trials,
        epochs=1,
        workers=WORKERS,
        executor=executor,
        listener=watch,
    )
    return marks, time.perf_counter() - begun


def rate(marks: list[float]) -> float:
    """Trials a second between the first and the last of these moments."""
    return (len(marks) - 1) / (marks[-1] - marks[0])


def tune_rate(trials: int) -> tuple[float, float]:
    """Trials a second of a plain Ray Tune run once it is in its stride, and the seconds of the whole run."""
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    import ray
    from ray import tune
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    marks: list[float] = []

    class Trainable(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.config = config

        def reset_config(self, config: dict[str, Any]) -> bool:
            self.config = config
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            pass

        def load_checkpoint(self, checkpoint: Any) -> None:
            pass

        def step(self) -> dict[str, Any]:
            widths = [self.config[f"width{layer}"] for layer in range(trivial.LAYERS)]
            return {"score": trivial.objective(widths), "done": True}

    class Watch(tune.Callback):  # type: ignore[misc]
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            marks.append(time.perf_counter())

    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        try:
            tune.Tuner(
                Trainable,
                param_space={f"width{layer}": tune.randint(1, trivial.WIDTHS + 1) for layer in range(trivial.LAYERS)},
                tune_config=tune.TuneConfig(
                    metric="score",
                    mode="max",
                    num_samples=trials,
                    search_alg=ConcurrencyLimiter(OptunaSearch(), max_concurrent=WORKERS),
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(storage_path=directory, callbacks=[Watch()], verbose=0),
            ).fit()
        finally:
            ray.shutdown()
    return rate(marks[min(20, trials // 2) :]), time.perf_counter() - begun


def optuna_rate(trials: int, storage: str | None) -> float:
    """Trials a second of `study.optimize` with Optuna's random sampler, which costs least."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: optuna.Trial) -> float:
        return trivial.objective(
            [trial.suggest_int(f"width{layer}", 1, trivial.WIDTHS) for layer in range(trivial.LAYERS)]
        )

    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0), direction="maximize")
    begun = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    return trials / (time.perf_counter() - begun)


def main() -> None:
    """Runs everything one after the other and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--long", type=int, default=10_000)
    parser.add_argument("--tune", type=int, default=200, help="trials of Ray Tune, and of Optuna on SQLite")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    # Workers import what the driver can.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    where = machine_line()
    print(where, flush=True)
    found: dict[str, float] = {}
    start = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        marks, seconds = our_search(arguments.trials)
        found["nas_trials_per_second"] = rate(marks[SETTLED:])
        found["nas_whole_run_seconds"] = seconds
        print(f"nas, ray_pool: {found['nas_trials_per_second']:.0f} trials/s, {seconds:.1f} s in all", flush=True)
        marks, seconds = our_search(arguments.trials, "serial")
        found["nas_serial_trials_per_second"] = rate(marks[SETTLED:])
        print(f"nas, serial: {found['nas_serial_trials_per_second']:.0f} trials/s", flush=True)
        if arguments.long:
            marks, seconds = our_search(arguments.long)
            thousand = min(1_000, arguments.long // 3)
            first, last = rate(marks[SETTLED : SETTLED + thousand]), rate(marks[-thousand:])
            found |= {"nas_first_thousand": first, "nas_last_thousand": last, "nas_slowing": first / last}
            rates = [1_000 / (later - sooner) for sooner, later in pairwise(marks[SETTLED::1_000])]
            print(
                f"nas, {arguments.long:,} trials: {first:.0f} trials/s at first, {last:.0f} at last, "
                f"{first / last:.2f} times as slow; by thousands: {', '.join(f'{each:.0f}' for each in rates)}",
                flush=True,
            )
        found["optuna_memory"] = optuna_rate(arguments.trials, None)
        found["optuna_sqlite"] = optuna_rate(arguments.tune, f"sqlite:///{directory}/optuna.db")
        print(f"optuna alone: {found['optuna_memory']:.0f} trials/s in memory, {found['optuna_sqlite']:.0f} on SQLite")
        found["tune_trials_per_second"], found["tune_whole_run_seconds"] = tune_rate(arguments.tune)
        print(
            f"tune with OptunaSearch: {found['tune_trials_per_second']:.1f} trials/s, "
            f"{found['tune_whole_run_seconds']:.1f} s in all for {arguments.tune}"
        )
        os.chdir(start)
    print(f"nas is {found['nas_trials_per_second'] / found['tune_trials_per_second']:.1f} times as fast as tune")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"where": where, **found}))


if __name__ == "__main__":
    main()
