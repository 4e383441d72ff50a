"""The classic networks have the figures that the world knows of them, and are found by name."""

import csv
import subprocess
import sys
from math import prod
from pathlib import Path

import pytest

from analysis import Layer, analyze
from search_spaces import Architecture, zoo
from search_spaces.errors import UserError
from search_spaces.ops import Conv, Pool

GOLDEN = Path(__file__).parents[1] / "golden" / "zoo.csv"
ROWS = list(csv.DictReader(GOLDEN.read_text().splitlines()))


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_figures_are_the_published_ones(row: dict[str, str]) -> None:
    report = analyze(zoo.load(row["name"]))
    assert report.params == int(row["params"])
    if row["macs"]:
        assert report.macs == int(row["macs"])
        assert report.fvcore_flops == int(row["fvcore_flops"])


def test_densenet_bc_for_cifar_has_the_parameters_of_a_closed_form() -> None:
    def layer(channels: int) -> int:
        return 2 * channels + channels * 48 + 2 * 48 + 48 * 12 * 9

    total, channels = 3 * 24 * 9, 24
    for block in range(3):
        for _ in range(16):
            total, channels = total + layer(channels), channels + 12
        if block < 2:
            total, channels = total + 2 * channels + channels * (channels // 2), channels // 2
    total += 2 * channels + 10 * channels + 10
    report = analyze(zoo.load("densenet100_bc"))
    assert report.params == total
    assert report.depth == 100
    assert round(report.params, -5) == 800_000  # table 2 of the paper


def test_pre_activation_resnet_has_164_layers_and_1_7_million_parameters() -> None:
    network = zoo.load("resnet164")
    report = analyze(network)
    assert report.depth == 164
    assert round(report.params, -5) == 1_700_000  # table 4 of the paper
    # One normalisation before each convolution of a bottleneck, and one before the head; none behind a sum.
    operations = [layer.operation for layer in report.layers]
    assert operations.count("BatchNorm") == 3 * 54 + 1
    assert sum(operation.startswith("Conv") for operation in operations) == 3 * 54 + 1 + 3
    assert all(
        layer.output_shape[1:] in ((32, 32), (16, 16), (8, 8)) for layer in report.layers if "stage" in layer.name
    )


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        (name, int("".join(filter(str.isdigit, name))))
        for name in zoo.names()
        if name.startswith(("vgg", "resnet", "densenet"))
    ],
)
def test_the_number_in_a_name_is_the_depth(name: str, depth: int) -> None:
    assert analyze(zoo.load(name)).depth == depth


def weighted(architecture: Architecture, operation: str) -> list[Layer]:
    return [layer for layer in analyze(architecture).layers if layer.operation.startswith(operation)]


def test_vgg16_layer_by_layer() -> None:
    network = zoo.load("vgg16")
    convolutions, linear = weighted(network, "Conv"), weighted(network, "Linear")
    assert [layer.params - layer.output_shape[0] for layer in convolutions] == [
        *(1_728, 36_864),
        *(73_728, 147_456),
        *(294_912, 589_824, 589_824),
        *(1_179_648, 2_359_296, 2_359_296, 2_359_296, 2_359_296, 2_359_296),
    ]
    assert [layer.params - layer.output_shape[0] for layer in linear] == [102_760_448, 16_777_216, 4_096_000]
    assert [prod(layer.output_shape) for layer in convolutions] == [
        *[224 * 224 * 64] * 2,
        *[112 * 112 * 128] * 2,
        *[56 * 56 * 256] * 3,
        *[28 * 28 * 512] * 3,
        *[14 * 14 * 512] * 3,
    ]
    pools = weighted(network, "Pool")
    assert [layer.output_shape for layer in pools] == [
        (64, 112, 112),
        (128, 56, 56),
        (256, 28, 28),
        (512, 14, 14),
        (512, 7, 7),
    ]
    assert [layer.activation_bytes // 4 for layer in (convolutions[0], pools[-1])] == [3_211_264, 25_088]
    convolved = sum(prod(layer.output_shape) for layer in convolutions)
    pooled = sum(prod(layer.output_shape) for layer in pools)
    # Each convolution has its ReLU; the head averages and flattens 25,088, and twice gives 4,096 three times: linear,
    # ReLU and dropout.
    assert analyze(network).activation_bytes == 4 * (2 * convolved + pooled + 2 * 25_088 + 6 * 4_096 + 1_000)


def test_vgg16_has_honest_totals() -> None:
    report = analyze(zoo.load("vgg16"))
    image, labels_and_loss = 3 * 224 * 224, 4
    maps = {1: 224 * 224 * 64, 2: 112 * 112 * 128, 3: 56 * 56 * 256, 4: 28 * 28 * 512, 5: 14 * 14 * 512}
    depths = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
    # The second convolution's unit holds what it reads while its ReLU makes a value of what it has convolved.
    assert report.peak_inference_bytes == 4 * (report.params + image + 3 * maps[1])
    # ReLUs keep their outputs, which the convolutions behind them read; poolings keep 8-byte indices, and what they give
    # is read again; the head keeps features, and twice a ReLU, the noise of a dropout and what it scales; scores.
    poolings = sum(maps.values()) // 4
    head = 25_088 + 2 * 3 * 4_096 + 1_000
    training = report.training_memory(optimizer="sgd")
    assert training.saved_bytes == 4 * (sum(maps[stage] * depths[stage] for stage in maps) + 3 * poolings + head)
    # The peak is in the middle of the backward pass, at the last ReLU of stage 3: before it everything is still kept,
    # behind it all gradients are there.
    kept = sum(depths[stage] * maps[stage] + 3 * maps[stage] // 4 for stage in (1, 2)) + 3 * maps[3]
    missing = sum(layer.params for layer in weighted(zoo.load("vgg16"), "Conv")[:7])
    in_backward = kept + 2 * maps[3] + image + labels_and_loss - missing
    assert training.peak_bytes == 4 * (2 * report.params + in_backward)
    assert report.peak_training_bytes == training.peak_bytes + 4 * report.params
    # Adam's peak is at the end, where it makes a root and a denominator for the first linear layer.
    scratch = 512 + 2 * 25_088 * 4_096
    assert report.training_memory(optimizer="adam").peak_bytes == 4 * (
        4 * report.params + scratch + image + labels_and_loss
    )


def test_vgg16_convolutions_two_see_5_and_three_see_7() -> None:
    fields = [layer.receptive_field for layer in weighted(zoo.load("vgg16"), "Conv")]
    assert [field[0].size for field in fields[:2] if field] == [3, 5]
    stage3 = [field[0] for field in fields[4:7] if field]
    # Behind two poolings a step is 4 pixels; the third convolution adds as much as the second to what the first sees.
    assert [window.size - stage3[0].size for window in stage3] == [0, 2 * 4, 4 * 4]


@pytest.mark.parametrize(
    ("name", "size"),
    [("alexnet", 195), ("vgg16", 212), ("vgg16_bn", 212), ("resnet18", 435), ("resnet50", 427), ("resnet152", 1451)],
)
def test_receptive_field_of_the_features(name: str, size: int) -> None:
    features = [layer for layer in analyze(zoo.load(name)).layers if not layer.name.startswith("head.")]
    assert features[-1].receptive_field is not None
    assert [window.size for window in features[-1].receptive_field] == [size, size]


@pytest.mark.parametrize(
    ("name", "size"),
    [("vgg11", 32), ("vgg16", 32), ("vgg16", 96), ("vgg19", 32), ("resnet18", 32), ("resnet34", 160), ("alexnet", 96)],
)
def test_unproductive_layers_are_those_that_the_definition_names(name: str, size: int) -> None:
    # Richter et al. 2021: a layer is unproductive if what it reads sees more than the image on its own; the first
    # of these is the border layer. Along the main path each layer adds a ring of its kernel to what is seen.
    network = Architecture(zoo.load(name).graph, ((3, size, size),))
    seen, step, unproductive = 1, 1, []
    for node in network.flatten().graph.nodes:
        operation = node.operation
        if not isinstance(operation, Conv | Pool) or "projection" in node.name:
            continue
        if seen > size and operation.kernel[0] > 1:
            unproductive.append(node.name)
        seen += (operation.kernel[0] - 1) * step
        step *= operation.stride[0]
    assert unproductive
    report = analyze(network)
    assert list(report.unproductive) == unproductive
    assert [layer.name for layer in report.layers if layer.unproductive] == unproductive


OURS = tuple(name for name in zoo.names() if name.startswith(("lenet", "alexnet", "vgg", "resnet", "densenet")))


@pytest.mark.parametrize("name", OURS)
def test_every_network_goes_through_json_and_flattening(name: str) -> None:
    network = zoo.load(name)
    again = Architecture.from_json(network.to_json())
    assert again == network
    assert again.key == network.key == network.flatten().key


def test_no_two_networks_are_the_same() -> None:
    assert len({zoo.load(name).key for name in OURS}) == len(OURS)


@pytest.mark.parametrize("name", OURS)
def test_classes_and_channels_are_parameters(name: str) -> None:
    channels, *sizes = zoo.load(name).input_shapes[0]
    network = zoo.load(name, classes=7, input_shape=[channels + 1, *sizes])
    assert network.input_shapes == ((channels + 1, *sizes),)
    assert network.output_shapes == ((7,),)


@pytest.mark.parametrize(
    "name", ["alexnet", "vgg11", "vgg16_bn", "resnet18", "resnet50", "resnet164", "densenet121", "densenet100_bc"]
)
def test_networks_that_average_before_the_classifier_take_other_sizes(name: str) -> None:
    assert zoo.load(name, input_shape=(3, 64, 96)).output_shapes == zoo.load(name).output_shapes


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("resnet5", {}, "unknown network 'resnet5'; did you mean 'resnet50'?"),
        ("vgg16", {"clases": 10}, "unknown parameter of the network 'vgg16' 'clases'; did you mean 'classes'?"),
        ("resnet18", {"classes": 0}, "resnet18: classes must be a whole number of at least 1, got 0"),
        ("densenet121", {"input_shape": (224, 224)}, "densenet121: input_shape must be (channels, height, width)"),
        ("alexnet", {"input_shape": (3, 62, 62)}, "larger than its padded input"),
        ("vgg16", {"input_shape": (3, 16, 16)}, "larger than its padded input"),
        ("lenet5", {"input_shape": (1, 36, 36)}, "gives features of 2x2, but the classifier reads 1x1"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        zoo.load(name, **parameters)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_networks_are_imported_only_when_loaded_and_need_no_torch() -> None:
    program = (
        "import sys, search_spaces\n"
        "assert not any(name.startswith('search_spaces.zoo') for name in sys.modules)\n"
        "names = search_spaces.zoo.names()\n"
        "assert not any(name.startswith('search_spaces.zoo.') for name in sys.modules)\n"
        "for name in names: search_spaces.zoo.load(name)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=GOLDEN.parents[2])
