"""`nas analyze` on torch models: what it prints of them, beside our own networks, and what it refuses."""

from pathlib import Path

import pytest

from analysis import analyze
from search_spaces import zoo
from tests.nas.command_line import Run

MODELS = """
import torch
from torch import nn


class Spectral(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        print("a model may print")
        return self.conv(torch.fft.fft2(x).real)


class Looks(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x):
        return self.a(x) if x.sum() > 0 else x


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.a = nn.Embedding(10, 4), nn.Linear(4, 2)

    def forward(self, tokens, weights):
        assert tokens.dtype == torch.int64
        return self.a(self.table(tokens) * weights[:, :, None])


def encoder():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2)


def resnet18():
    from search_spaces import to_module, zoo

    return to_module(zoo.load("resnet18"))


def untrainable():
    return nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten())


def words():
    return nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 3))
"""


@pytest.fixture(autouse=True)
def models(run: Run, tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(MODELS)


def test_a_torch_model_has_the_figures_of_the_same_network(run: Run) -> None:
    document = run("analyze", "./models.py:resnet18", "--input", "3x224x224", "--batch", "2", "--json").document
    own = run("analyze", "resnet18", "--batch", "2", "--json").document
    for name in ("params", "macs", "flops", "activation_bytes", "weight_bytes", "depth", "receptive_field"):
        assert document[name] == own[name], name
    assert document["unproductive"] == own["unproductive"]
    assert document["training"].keys() == own["training"].keys()
    assert document["peak_training_bytes"] == pytest.approx(own["peak_training_bytes"], rel=0.01)
    assert [layer["name"] for layer in document["layers"]] == [layer["name"] for layer in own["layers"]]
    assert set(own) <= set(document)
    assert set(own["layers"][0]) == set(document["layers"][0])
    assert document["target"] == "./models.py:resnet18"


def test_the_tables_of_a_torch_model(run: Run) -> None:
    ran = run("analyze", "./models.py:encoder", "--input", "5x16", "--layers")
    assert ran.code == 0, ran.err
    assert "./models.py:encoder: input 5x16, batch 1, float32" in ran.out
    assert "every operation is counted" in ran.out
    assert "layers.1.self_attn" in ran.out and "MultiheadAttention" in ran.out and "layers.0.add" in ran.out


def test_what_is_not_counted_is_shown_and_what_a_model_prints_is_no_data(run: Run) -> None:
    ran = run("analyze", "./models.py:Spectral", "--input", "3x16x16", "--json")
    assert ran.document["uncounted"] == [{"operation": "aten.fft_fft2", "times": 1}]
    assert "a model may print" in ran.err
    assert (
        "their MACs are not in the figures: aten.fft_fft2 (1)"
        in run("analyze", "./models.py:Spectral", "--input", "3x16x16").out
    )


def test_own_and_foreign_networks_side_by_side(run: Run) -> None:
    ran = run("analyze", "--compare", "lenet5", "./models.py:Spectral", "--input", "3x32x32")
    assert ran.code == 2 or "61,706" not in ran.out
    ran = run("analyze", "--compare", "resnet18", "./models.py:resnet18", "--input", "3x64x64")
    assert ran.code == 0, ran.err
    assert ran.out.count("11,689,512") == 2
    assert "uncounted" in ran.out
    documents = run(
        "analyze", "--compare", "./models.py:resnet18", "resnet18", "--input", "3x64x64", "--json"
    ).document["networks"]
    assert documents[0]["macs"] == documents[1]["macs"] == analyze(zoo.load("resnet18"), input_shape=(3, 64, 64)).macs


def test_conventions_that_hold_for_any_model(run: Run) -> None:
    for name, factor in (("macs", 1), ("flops", 2)):
        document = run("analyze", "./models.py:words", "--input", "7", "--convention", name, "--json").document
        assert document["convention"] == {"name": name, "count": factor * 7 * 24}
        assert [layer["count"] for layer in document["layers"]] == [0, factor * 7 * 24]


def test_latency_stands_beside_the_roofline(run: Run) -> None:
    document = run(
        "analyze", "./models.py:TwoInputs", "--input", "7:int64", "--input", "7", "--latency", "cpu", "--json"
    ).document
    assert document["inputs"] == [{"shape": [7], "dtype": "int64"}, {"shape": [7], "dtype": "float32"}]
    assert document["latency"]["median_ms"] > 0
    assert document["roofline"]["latency_ms"] > 0
    estimate = run("analyze", "./models.py:encoder", "--input", "5x16", "--profile", "a100-sxm-80gb", "--json").document
    assert 0 < estimate["roofline"]["latency_ms"] < document["latency"]["median_ms"]


def test_whole_numbers_as_inputs(run: Run) -> None:
    found, told = (run("analyze", "./models.py:words", "--input", text, "--json").document for text in ("7", "7:int64"))
    assert found == told
    assert "input 7:int64, batch 1" in run("analyze", "./models.py:words", "--input", "7").out


def test_a_model_that_is_run_really_says_so(run: Run) -> None:
    assert "a random input" in run("analyze", "./models.py:Looks", "--input", "4").out
    assert run("analyze", "./models.py:Looks", "--input", "4", "--json").document["traced_on"] == "cpu"


def test_a_model_that_cannot_be_trained_has_all_other_figures(run: Run) -> None:
    document = run("analyze", "./models.py:untrainable", "--input", "3x8x8", "--json").document
    assert document["training"] is document["peak_training_bytes"] is None
    assert "more than 1 value per channel" in document["untrainable"]
    assert document["macs"] == 4 * 3 * 64
    assert "more than 1 value per channel" in run("analyze", "./models.py:untrainable", "--input", "3x8x8").out


BAD = {
    "a tool's convention": (
        ["./models.py:words", "--input", "7", "--convention", "fvcore"],
        "choose one of: macs, flops",
    ),
    "a convolutional twin": (
        ["./models.py:words", "--input", "7", "--convolutionalize"],
        "--convolutionalize needs the graph",
    ),
    "a drawing": (["./models.py:words", "--input", "7", "--draw", "a.svg"], "--draw needs the graph"),
    "a parameter": (
        ["./models.py:words", "--input", "7", "--set", "classes=3"],
        "only classic networks take parameters",
    ),
    "an unknown number type": (["./models.py:words", "--input", "7:int46"], "did you mean 'int64'"),
    "no number type": (["./models.py:words", "--input", "7:"], "--input '7:'"),
    "whole numbers for our own": (["lenet5", "--input", "1x32x32:int64"], "for torch models"),
    "too few inputs": (["./models.py:TwoInputs", "--input", "7"], "TwoInputs fails: "),
    "an unknown optimizer": (["./models.py:words", "--input", "7", "--optimizer", "adan"], "did you mean 'adam'"),
    "an unknown device": (["./models.py:words", "--input", "7", "--latency", "gpu"], "cpu, cuda"),
}


@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=BAD)
def test_bad_input_gets_one_line(run: Run, arguments: list[str], says: str) -> None:
    ran = run("analyze", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("nas: ") and ran.err.count("\n") == 1
    assert says in ran.err
