"""No file of ours runs code out of data; the exceptions are listed, each with its reason, and a list that is out of date fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.forbidden_code import forbidden

HOME = Path(__file__).parents[2]
PACKAGES = ("nas", "workers", "analysis", "db", "search_spaces", "benchmarks", "examples")

OWN_TABLE = (
    "The names come from a table in the same file, which is there to import heavy modules only when they are used."
)

ALLOWED: dict[tuple[str, str], str] = {
    ("analysis/__init__.py", "importlib.import_module"): OWN_TABLE,
    ("search_spaces/__init__.py", "importlib.import_module"): OWN_TABLE,
    ("search_spaces/cells/__init__.py", "importlib.import_module"): OWN_TABLE,
    ("search_spaces/zoo/__init__.py", "importlib.import_module"): OWN_TABLE,
    ("workers/zero_cost/table.py", "importlib.import_module"): OWN_TABLE,
    (
        "search_spaces/plugins.py",
        "EntryPoint.load",
    ): "It imports what an installed package offers, or what the user names as module:attribute; nas resume asks first.",
    (
        "analysis/torch_model/loading.py",
        "importlib.import_module",
    ): "The user names a torch model of their own on the command line, which nothing but its code can make.",
    (
        "analysis/torch_model/loading.py",
        "spec.loader.exec_module",
    ): "The user names a file of their own on the command line, whose code makes the model.",
    (
        "nas/export/clean_process.py",
        "spec.loader.exec_module",
    ): "It runs the model.py that this very export has just written, in a process of its own, to verify it.",
    (
        "workers/ray_tune_worker.py",
        "ray.cloudpickle",
    ): "Ray pickles between driver and workers of one cluster, which is why clusters need a token; this is the same way.",
    (
        "workers/ray_tune_bridge.py",
        "ray.cloudpickle",
    ): "Tune hands a worker's exception over in a file of the private directory of the cluster that we have started.",
}
"""What stands where nevertheless, and why that is safe or wanted."""


def findings() -> Iterator[tuple[str, str, int]]:
    for package in PACKAGES:
        for path in sorted((HOME / package).rglob("*.py")):
            name = path.relative_to(HOME).as_posix()
            yield from ((name, what, line) for what, line in forbidden(path.read_text(encoding="utf-8")))


def test_our_code_runs_nothing_out_of_data() -> None:
    found = list(findings())
    assert [f"{name}:{line}: {what}" for name, what, line in found if (name, what) not in ALLOWED] == []
    # An exception that nobody needs any more is an open door.
    assert ALLOWED.keys() - {(name, what) for name, what, _ in found} == set()
    assert all(reason.endswith(".") and len(reason.split()) > 8 for reason in ALLOWED.values())


def test_every_package_is_looked_at() -> None:
    looked_at = {path.relative_to(HOME).parts[0] for package in PACKAGES for path in (HOME / package).rglob("*.py")}
    assert looked_at == set(PACKAGES)
    code = {path.parent.name for path in HOME.glob("*/*.py")} - {"tests", "build"}
    assert code <= set(PACKAGES)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import pickle", "pickle"),
        ("import pickle as p", "pickle"),
        ("def f():\n    from pickle import loads", "pickle.loads"),
        ("from six.moves import cPickle", "six.moves.cPickle"),
        ("import cloudpickle", "cloudpickle"),
        ("from ray import cloudpickle as c", "ray.cloudpickle"),
        ("import dill, json", "dill"),
        ("import shelve", "shelve"),
        ("from marshal import loads", "marshal.loads"),
        ("import joblib\njoblib.load(f)", "joblib"),
        ("eval(text)", "eval"),
        ("run = exec", "exec"),
        ("compile(text, '', 'exec')", "compile"),
        ("import builtins\nbuiltins.eval(text)", "builtins.eval"),
        ("__import__(name)", "__import__"),
        ("import yaml\nyaml.load(text, yaml.SafeLoader)", "yaml.load"),
        ("from yaml import unsafe_load as read\nread(text)", "yaml.unsafe_load"),
        ("import torch\ntorch.load(path)", "torch.load"),
        ("import torch\ntorch.load(path, weights_only=False)", "torch.load"),
        ("import torch as t\nt.load(path, weights_only=flag)", "torch.load"),
        ("from torch import load\nload(path)", "torch.load"),
        ("import torch\ntorch.jit.load(path)", "torch.jit.load"),
        ("import numpy as np\nnp.load(path, allow_pickle=True)", "numpy.load"),
        ("import numpy as np\nnp.load(path)", "numpy.load"),
        ("import pandas as pd\npd.read_pickle(path)", "pandas.read_pickle"),
        ("frame.to_pickle(path)", "frame.to_pickle"),
        ("import subprocess\nsubprocess.run(text, shell=True)", "shell=True"),
        ("from subprocess import Popen\nPopen(text, shell=flag)", "shell=True"),
        ("import os\nos.system(text)", "os.system"),
        ("from os import popen", "os.popen"),
        ("from importlib import import_module as get\nget(name)", "importlib.import_module"),
        ("import importlib\nimportlib.import_module(name)", "importlib.import_module"),
        ("spec.loader.exec_module(module)", "spec.loader.exec_module"),
        ("make().loader.exec_module(module)", ".exec_module"),
        ("entry_point.load()", "EntryPoint.load"),
        ("connection.enable_load_extension(True)", "connection.enable_load_extension"),
    ],
)
def test_bad_code_is_found(source: str, what: str) -> None:
    assert what in [found for found, _ in forbidden(source)]


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.compile(text)",
        "module.eval()",
        "import torch\ntorch.load(path, weights_only=True)",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "import subprocess\nsubprocess.run([sys.executable], shell=False)",
        "import json\njson.load(file)\nregistry.load(name)",
        "from workers.trainer import compile\ncompile(model)",
        "'import pickle; eval(text)'",
    ],
)
def test_good_code_is_left_alone(source: str) -> None:
    assert list(forbidden(source)) == []
