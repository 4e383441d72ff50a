"""The networks that torchvision has too are the same: figures, states by position, and outputs."""

from typing import Any

import pytest
import torch
from torch import nn

from analysis import analyze
from search_spaces import to_module, zoo
from tests import torchvision_oracle

NETWORKS = tuple(
    name
    for name in zoo.names()
    if name.startswith(("alexnet", "densenet1", "densenet2", "efficientnet", "googlenet", "inception", "mobilenet"))
    or name.startswith(("resnet", "vgg"))
    if name not in ("densenet100_bc", "resnet164")
)
"""All but those for small images, or of another kind, which torchvision lacks."""

AUXILIARY = ("googlenet", "inception_v3")
"""Those with heads for training alone, which torchvision builds unless told not to."""

TOLERANCE = 1e-5


def make(name: str, *, init_weights: bool = True) -> nn.Module:
    """torchvision's network with random weights, without heads for training."""
    options = {"aux_logits": False, "init_weights": init_weights} if name in AUXILIARY else {}
    return torchvision_oracle.load().models.get_model(name, weights=None, **options)  # type: ignore[no-any-return]


def meta_data(name: str) -> dict[str, Any]:
    """What torchvision says of the network, beside its first weights."""
    weights = torchvision_oracle.load().models.get_model_weights(name)
    return next(iter(weights)).meta  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", NETWORKS)
def test_figures_are_those_beside_the_published_weights(name: str) -> None:
    meta = meta_data(name)
    report = analyze(zoo.load(name))
    # Of the two that have heads for training, only Inception's are counted there, and only as parameters.
    counted = analyze(zoo.load(name, auxiliary=True)) if name == "inception_v3" else report
    assert counted.params == meta["num_params"]
    assert round(report.macs / 1e9, 3) == meta["_ops"]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_smallest_image_is_taken(name: str) -> None:
    height, width = meta_data(name)["min_size"]
    assert zoo.load(name, input_shape=(3, height, width)).output_shapes == ((1000,),)


@pytest.mark.parametrize("name", NETWORKS)
def test_states_fit_by_position(name: str) -> None:
    with torch.device("meta"):
        theirs, ours = make(name, init_weights=False), to_module(zoo.load(name))
    assert [value.shape for value in ours.state_dict().values()] == [
        value.shape for value in theirs.state_dict().values()
    ]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("alexnet", 100),
        ("vgg16", 96),
        ("googlenet", 96),
        ("resnet18", 64),
        ("resnet50", 64),
        ("densenet121", 64),
        ("inception_v3", 107),
        ("mobilenet_v2", 64),
        ("efficientnet_b0", 64),
    ],
)
def test_outputs_are_equal(name: str, size: int) -> None:
    torch.manual_seed(0)
    reference = make(name)
    x = torch.randn(4, 3, size, size)
    for part in reference.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    with torch.device("meta"):
        module = to_module(zoo.load(name, input_shape=(3, size, size)))
    with torch.no_grad():
        # Batch norms take over the statistics of this batch; with those they begin with, a deep network gives its
        # bias whatever it sees, and any two of them are equal.
        reference.train()(x)
        expected = reference.eval()(x)
        module.load_state_dict(
            dict(zip(module.state_dict(), reference.state_dict().values(), strict=True)), assign=True
        )
        given = module.eval()(x)
    assert expected.std(dim=0).mean() > 10 * TOLERANCE, "the outputs must tell the images apart"
    torch.testing.assert_close(given, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("size", [14, 9, 4, 3])
@pytest.mark.parametrize("number", [1, 2])
def test_auxiliary_heads_of_googlenet_give_equal_outputs(number: int, size: int) -> None:
    torch.manual_seed(0)
    reference = torchvision_oracle.load().models.googlenet(weights=None, aux_logits=True, init_weights=True)
    theirs = reference.get_submodule(f"aux{number}")
    ours = to_module(zoo.load("googlenet", auxiliary=True)).get_submodule(f"auxiliary{number}").eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(2, {1: 512, 2: 528}[number], size, size)
    with torch.no_grad():
        expected = theirs.eval()(x)
        assert expected.std(dim=0).mean() > 10 * TOLERANCE
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=TOLERANCE)
