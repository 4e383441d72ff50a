"""`nas analyze`: what it prints for each kind of target, and what bad input gets."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from analysis import analyze
from search_spaces import zoo
from tests.nas.command_line import Run

MODEL = """
import torch
from torch import nn


def make():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(5))


def small():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(512, 5))


class Failing(nn.Module):
    def forward(self, x):
        raise RuntimeError("the third wheel\\nis square")


class Careless(nn.Module):
    def forward(self, x):
        return {}["absent"]


number = 3
"""


@pytest.fixture
def model_file(tmp_path: Path) -> str:
    (tmp_path / "model.py").write_text(MODEL)
    return "./model.py"


def test_a_network_is_analysed_without_torch_or_a_database(tmp_path: Path) -> None:
    code = (
        "import sys; from nas.cli import main; code = main(['analyze', 'resnet18', '--layers', '--draw', 'r.svg']); "
        "heavy = {'torch', 'ray', 'optuna', 'sqlalchemy', 'pandas'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path, env={"PYTHONPATH": "."}
    )
    assert ended.returncode == 0, ended.stderr
    assert "11,689,512" in ended.stdout
    assert "stage4.unit2.conv2" in ended.stdout or "conv2" in ended.stdout
    assert (tmp_path / "r.svg").is_file()


def test_json_is_the_report_with_training_memory(run: Run) -> None:
    document = run("analyze", "resnet18", "--json").document
    report = analyze(zoo.load("resnet18"))
    assert document["target"] == "resnet18"
    assert (document["params"], document["macs"]) == (report.params, report.macs)
    assert document["peak_training_bytes"] > document["peak_inference_bytes"]
    assert document["unproductive"] == list(report.unproductive)
    assert sum(layer["weight_bytes"] for layer in document["layers"]) == document["weight_bytes"]
    assert sum(layer["params"] for layer in document["layers"]) == document["params"]


def test_vgg16_layer_by_layer(run: Run) -> None:
    layers = run("analyze", "vgg16", "--json").document["layers"]
    convolutions = [layer for layer in layers if layer["operation"].startswith("Conv")]
    # Weights without biases; the lecture table that everybody copies misprints the fourth.
    without_bias = [layer["params"] - layer["output_shape"][0] for layer in convolutions]
    assert without_bias == [
        *(1_728, 36_864, 73_728, 147_456, 294_912, 589_824, 589_824),
        *(1_179_648, *[2_359_296] * 5),
    ]
    dense = [layer for layer in layers if layer["operation"] == "Linear"]
    assert [layer["params"] - layer["output_shape"][0] for layer in dense] == [102_760_448, 16_777_216, 4_096_000]
    text = run("analyze", "vgg16", "--layers").out
    assert all(f"{layer['params']:,}" in text for layer in layers if layer["params"])


def test_input_batch_and_type_change_the_figures(run: Run) -> None:
    plain = run("analyze", "resnet18", "--json").document
    large = run("analyze", "resnet18", "--input", "3x448x448", "--batch", "2", "--dtype", "float16", "--json").document
    assert large["params"] == plain["params"]
    head = 512 * 1000
    assert large["macs"] - 2 * head == 8 * (plain["macs"] - head)
    assert (large["batch"], large["dtype"]) == (2, "float16")


def test_a_parameter_of_a_network(run: Run) -> None:
    document = run("analyze", "googlenet", "--set", "auxiliary=true", "--json").document
    assert document["params"] == 13_004_888


def test_an_architecture_file_and_a_key(run: Run, tmp_path: Path) -> None:
    architecture = zoo.load("lenet5")
    (tmp_path / "lenet.json").write_text(architecture.to_json())
    assert run("analyze", "lenet.json", "--json").document["params"] == 61_706


def test_conventions_of_other_tools(run: Run) -> None:
    for convention, count in (("fvcore", 1_504_878_688), ("macs", 1_498_376_192), ("flops", 2 * 1_498_376_192)):
        document = run("analyze", "googlenet", "--convention", convention, "--json").document
        assert document["convention"] == {"name": convention, "count": count}
        assert sum(layer["count"] for layer in document["layers"]) == count
    assert "1,504,878,688" in run("analyze", "googlenet", "--convention", "fvcore").out


def test_networks_side_by_side(run: Run) -> None:
    ran = run("analyze", "--compare", "resnet18", "resnet50")
    assert ran.code == 0
    assert "11,689,512" in ran.out and "25,557,032" in ran.out
    documents = run("analyze", "resnet18", "resnet50", "--compare", "--json").document["networks"]
    assert [document["target"] for document in documents] == ["resnet18", "resnet50"]


def test_side_by_side_tells_what_the_figures_hold_for(run: Run) -> None:
    ran = run("analyze", "--compare", "resnet18", "lenet5", "--batch", "4", "--optimizer", "adam")
    assert ran.code == 0, ran.err
    title, _, first, *_ = ran.out.splitlines()
    assert title == "Side by side: batch 4, float32, training with adam"
    assert first.split() == ["input", "3x224x224", "1x32x32"]


def test_every_unproductive_layer_says_so(run: Run) -> None:
    out = run("analyze", "resnet50", "--layers").out
    assert (out.count("unproductive, border"), out.count(" unproductive")) == (1, 4)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_failure(unbuffered: str) -> None:
    command = f"{sys.executable} -c 'import sys; from nas.cli import main; sys.exit(main())' analyze vgg16 --layers"
    shell = ["bash", "-c", f"set -o pipefail; {command} | head -n 1"]
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ran = subprocess.run(shell, capture_output=True, text=True, check=False, env=env)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_drawing_is_written(run: Run, tmp_path: Path) -> None:
    for name, options in (("folded.svg", []), ("unfolded.svg", ["--unfold"])):
        ran = run("analyze", "resnet18", "--draw", name, *options)
        assert ran.code == 0, ran.err
        assert ElementTree.parse(tmp_path / name).getroot().tag.endswith("svg")


def test_a_convolutional_twin_takes_larger_inputs(run: Run) -> None:
    plain = run("analyze", "resnet18", "--json").document
    twin = run("analyze", "resnet18", "--convolutionalize", "--json").document
    assert (twin["params"], twin["macs"]) == (plain["params"], plain["macs"])
    assert (twin["convolutionalized"], plain["convolutionalized"]) == (True, False)
    larger = run("analyze", "resnet18", "--convolutionalize", "--input", "3x288x288", "--json").document
    assert larger["layers"][-1]["output_shape"] == [1000, 3, 3]


def test_latency_stands_beside_the_roofline(run: Run) -> None:
    document = run("analyze", "lenet5", "--latency", "cpu", "--json").document
    assert document["latency"]["median_ms"] > 0
    assert document["roofline"]["latency_ms"] > 0
    estimate = run("analyze", "resnet50", "--profile", "a100-sxm-80gb", "--json").document["roofline"]
    assert estimate["latency_ms"] > 0
    text = run("analyze", "lenet5", "--latency", "cpu").out
    assert "latency_ms" in text and "roofline_ms" in text


def test_a_torch_model_from_a_file(run: Run, model_file: str) -> None:
    ran = run("analyze", f"{model_file}:small", "--input", "3x8x8", "--json")
    assert ran.code == 0, ran.err
    document = ran.document
    assert document["params"] == 3 * 8 * 9 + 512 * 5 + 5
    assert document["macs"] == 3 * 8 * 9 * 64 + 512 * 5
    assert document["peak_training_bytes"] > document["peak_inference_bytes"]
    assert document["uncounted"] == []


def test_networks_are_listed(run: Run) -> None:
    rows = {row["name"]: row for row in run("networks", "--json").document["networks"]}
    assert set(rows) == set(zoo.names())
    assert rows["resnet50"]["params"] == 25_557_032
    assert "25,557,032" in run("networks").out
    assert rows["wavenet"]["parameters"]["layers"] == 10
    assert "auxiliary=false" in run("networks").out


CYCLIC = {
    "format": "nas.architecture",
    "version": 1,
    "input_shapes": [[3, 8, 8]],
    "cells": [],
    "graph": {
        "nodes": [
            ["x", {"op": "Input"}, []],
            ["a", {"op": "Add"}, [0, 2]],
            ["b", {"op": "Activation"}, [1]],
        ],
        "outputs": [["y", 2]],
    },
}

BAD_INPUT = {
    "no target": ([], 2, "TARGET"),
    "unknown network": (["resnet51"], 2, "did you mean"),
    "nothing like it": (["a_model_of_mine"], 2, "nas networks"),
    "no such file": (["absent.json"], 3, "absent.json"),
    "not JSON": (["text.json"], 2, "not JSON"),
    "a newer file": (["newer.json"], 5, "upgrade"),
    "a cycle": (["cyclic.json"], 2, "'a'"),
    "no database for the key": (["0123456789ab"], 3, "nas.db"),
    "too small an input": (["alexnet", "--input", "3x8x8"], 2, "larger input"),
    "channels that do not fit": (["lenet5", "--input", "0x32x32"], 2, "--input"),
    "an input that is no shape": (["lenet5", "--input", "large"], 2, "--input"),
    "too many inputs": (["lenet5", "--input", "1x32x32", "--input", "1x32x32"], 2, "2 shapes for 1 inputs"),
    "empty batch": (["lenet5", "--batch", "0"], 2, "batch"),
    "unknown type": (["lenet5", "--dtype", "float8"], 2, "float"),
    "unknown convention": (["lenet5", "--convention", "fvcor"], 2, "did you mean 'fvcore'"),
    "unknown optimizer": (["lenet5", "--optimizer", "adan"], 2, "did you mean 'adam'"),
    "unknown device": (["lenet5", "--latency", "gpu"], 2, "cuda"),
    "unknown profile": (["lenet5", "--profile", "h100"], 2, "h100-sxm"),
    "unknown parameter": (["lenet5", "--set", "class=3"], 2, "did you mean 'classes'"),
    "a parameter without a value": (["lenet5", "--set", "classes"], 2, "NAME=VALUE"),
    "a parameter of a file": (["text.json", "--set", "classes=3"], 2, "classes"),
    "two targets": (["lenet5", "alexnet"], 2, "--compare"),
    "layers of several": (["--compare", "lenet5", "alexnet", "--layers"], 2, "--layers"),
    "unfold without draw": (["lenet5", "--unfold"], 2, "--draw"),
    "a drawing that is not an SVG": (["lenet5", "--draw", "a.png"], 2, "a.svg"),
    "a drawing without a name": (["lenet5", "--draw", "."], 2, "network.svg"),
    "a latency here on another device": (["lenet5", "--latency", "cpu", "--profile", "h100-sxm"], 2, "one of them"),
    "an input of another kind": (["resnet50", "--input", "3x224"], 2, "the network's own input is 3x224x224"),
    "one input too many": (["resnet50", "--input", "3x8x8", "--input", "4"], 2, "own input is 3x224x224"),
    "a file without a name in it": (["./model.py"], 2, "./model.py:make"),
    "a parameter twice": (["resnet50", "--set", "classes=10", "--set", "classes=20"], 2, "given twice"),
    "a switch that is none": (["googlenet", "--set", "auxiliary=no"], 2, "true or false"),
    "more than memory holds": (["lenet5", "--latency", "cpu", "--batch", "2000000000"], 2, "smaller --batch"),
    "a drawing in no directory": (["lenet5", "--draw", "absent/a.svg"], 2, "absent/a.svg"),
    "a model without input": (["./model.py:small"], 2, "--input"),
    "a model that does not fit its input": (["./model.py:small", "--input", "3x9x9"], 2, "linear"),
    "a model that fails": (["./model.py:Failing", "--input", "3x8x8"], 2, "the third wheel"),
    "no such callable": (["./model.py:absent", "--input", "3x8x8"], 2, "absent"),
    "not a model": (["./model.py:number", "--input", "3x8x8"], 2, "number"),
    "no such file of models": (["./absent.py:make", "--input", "3x8x8"], 3, "absent.py"),
    "no such module": (
        ["absent_module:make", "--input", "3x8x8"],
        3,
        "if 'absent_module' is a search, give absent_module:best",
    ),
    "the input as a parameter": (["resnet18", "--set", "input_shape=3x64x64"], 2, "give it as --input 3x224x224"),
    "a report": (["report.json"], 2, "this is the output of a command"),
    "an error in the model's code": (["./model.py:Careless", "--input", "3x8x8"], 2, "KeyError: 'absent' (model.py:"),
    "drawing a torch model": (["./model.py:small", "--input", "3x8x8", "--draw", "a.svg"], 2, "--draw"),
    "a tool's count of a torch model": (
        ["./model.py:small", "--input", "3x8x8", "--convention", "thop"],
        2,
        "--convention",
    ),
}


@pytest.mark.parametrize(("arguments", "code", "says"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_gets_one_line_and_writes_nothing(
    run: Run, tmp_path: Path, model_file: str, arguments: list[str], code: int, says: str
) -> None:
    (tmp_path / "text.json").write_text("not JSON")
    (tmp_path / "report.json").write_text('{"schema": 1, "target": "resnet18"}')
    (tmp_path / "cyclic.json").write_text(json.dumps(CYCLIC))
    (tmp_path / "newer.json").write_text(json.dumps({**CYCLIC, "version": 99}))
    before = set(tmp_path.iterdir())
    ran = run("analyze", *arguments)
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert ran.err.startswith("nas: ")
    assert ran.err.count("\n") == 1, ran.err
    assert says in ran.err
    assert {path for path in tmp_path.iterdir() if path.name != "__pycache__"} == before
