"""What is exported is proved in a clean process, and whatever is wrong there is found."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

import search_spaces
from nas.export.exporter import WEIGHTS_FILE, Model, NotVerified
from nas.export.formats import JsonExporter, PythonExporter
from nas.export.verify import (
    MODEL_FILE,
    check_weights,
    clean_accuracy,
    random_inputs,
    reference_module,
    verify_model_file,
)
from search_spaces import Architecture, to_module
from search_spaces.builder import GraphBuilder
from search_spaces.errors import UserError
from search_spaces.ops import Activation, BatchNorm, Flatten, Linear, conv2d


def small(classes: int = 3) -> Architecture:
    builder = GraphBuilder()
    end = builder.chain(
        builder.input(),
        ("conv", conv2d(4, 3)),
        ("norm", BatchNorm()),
        ("relu", Activation("relu")),
        ("flatten", Flatten()),
        ("linear", Linear(classes)),
    )
    return Architecture(builder.graph(end), ((1, 4, 4),))


def weights_of(architecture: Architecture, seed: int = 5) -> bytes:
    torch.manual_seed(seed)
    return save(to_module(architecture).state_dict())


def test_an_honest_model_passes_and_its_accuracy_is_measured_there(tmp_path: Path) -> None:
    model = Model(small(), weights_of(small()), "A model")
    PythonExporter().write(model, tmp_path)
    assert model.weights is not None
    (tmp_path / WEIGHTS_FILE).write_bytes(model.weights)
    verify_model_file(model, tmp_path)

    images = np.random.default_rng(0).standard_normal((600, 1, 4, 4), dtype=np.float32)
    with torch.inference_mode():
        scores = reference_module(model)(torch.from_numpy(images)).numpy()
    labels = scores.argmax(axis=1)
    labels[:150] = (labels[:150] + 1) % 3
    assert clean_accuracy(tmp_path, images, labels) == pytest.approx(0.75)
    assert sorted(path.name for path in tmp_path.iterdir()) == [MODEL_FILE, WEIGHTS_FILE], "no __pycache__ beside it"


def test_several_inputs_and_outputs_without_weights(tmp_path: Path) -> None:
    builder = GraphBuilder()
    one, two = builder.input("one"), builder.input("two")
    first, second = builder.add("first", Linear(2), one), builder.add("second", Linear(5), two)
    architecture = Architecture(builder.graph(first, second, names=("a", "b")), ((3,), (4,)))
    model = Model(architecture)
    PythonExporter().write(model, tmp_path)
    verify_model_file(model, tmp_path)


def test_a_model_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    model = Model(small())
    PythonExporter().write(model, tmp_path)
    path = tmp_path / MODEL_FILE
    path.write_text(path.read_text().replace("F.relu(x)", "F.leaky_relu(x, 1e-3)"))
    with pytest.raises(NotVerified, match=r"output 0 of model.py is off by"):
        verify_model_file(model, tmp_path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("import search_spaces.errors", r"it imports search_spaces|No module named 'search_spaces'"),
        ("raise RuntimeError('broken on purpose')", "broken on purpose"),
    ],
)
def test_a_model_that_does_not_stand_alone_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    model = Model(small())
    PythonExporter().write(model, tmp_path)
    path = tmp_path / MODEL_FILE
    path.write_text(path.read_text() + f"\n{line}\n")
    with pytest.raises(NotVerified, match=reason) as caught:
        verify_model_file(model, tmp_path)
    assert "\n" not in str(caught.value)


def test_json_that_is_another_architecture_is_refused(tmp_path: Path) -> None:
    exporter = JsonExporter()
    (name,) = exporter.write(Model(small(3)), tmp_path)
    exporter.verify(Model(small(3)), tmp_path)
    assert Architecture.from_json((tmp_path / name).read_text()) == small(3)
    with pytest.raises(NotVerified, match="another architecture"):
        exporter.verify(Model(small(4)), tmp_path)


def test_weights_must_fit() -> None:
    check_weights(small(), weights_of(small()))
    with pytest.raises(UserError, match=r"'linear\.bias' is shape \(4,\) there, shape \(3,\) here"):
        check_weights(small(3), weights_of(small(4)))
    state = to_module(small()).state_dict()
    missing = {name: tensor for name, tensor in state.items() if name != "conv.weight"}
    with pytest.raises(UserError, match=r"'conv\.weight' is nothing there"):
        check_weights(small(), save(missing))
    with pytest.raises(UserError, match=r"'extra' is shape \(1,\) there, nothing here"):
        check_weights(small(), save({**state, "extra": torch.zeros(1)}))
    with pytest.raises(UserError, match="not a safetensors file"):
        check_weights(small(), b"not weights at all")


def test_the_inputs_given_to_compare_on_must_fit(tmp_path: Path) -> None:
    wrong = Model(small(), inputs=(np.zeros((2, 3, 4, 4), dtype=np.float32),))
    with pytest.raises(UserError, match=r"\(\(3, 4, 4\),\).*need \(\(1, 4, 4\),\)"):
        verify_model_file(wrong, tmp_path)


def test_the_reference_without_weights_is_calibrated_and_leaves_the_seed_alone() -> None:
    architecture = search_spaces.load("cellular").sample(rng=random.Random(3))
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    module = reference_module(Model(architecture))
    assert torch.equal(torch.random.get_rng_state(), before)
    (images,) = random_inputs(architecture.input_shapes, seed=9)
    with torch.inference_mode():
        outputs = module(torch.from_numpy(images))
    assert not module.training
    assert outputs.std(dim=0).min() > 1e-3, "the outputs must depend on the inputs, or comparing them proves nothing"
