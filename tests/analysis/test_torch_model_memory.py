"""The memory of torch models against torch's own tracker, on a CPU that really computes, and by hand."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from memory_tracker import OPTIMIZERS, peak_bytes
from torch import Tensor, nn
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn import functional

from analysis import analyze
from analysis.torch_model import Untrainable
from tests.analysis.computes import Computes, parameter
from tests.search_spaces.test_zoo_branched import mobilenet
from tests.search_spaces.test_zoo_weights import resnet_reference


class LanguageModel(nn.Module):
    """Tied weights, a recurrent layer, and an output of classes for each position."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(500, 32)
        self.lstm = nn.LSTM(32, 32, 2, batch_first=True, dropout=0.1)
        self.head = nn.Linear(32, 500, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.table(tokens))[0])


class VisionTransformer(nn.Module):
    """Patches, a token of the class, positions, and layers of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 48, 8, 8)
        self.token = parameter(1, 1, 48)
        self.position = parameter(1, 17, 48)
        layer = nn.TransformerEncoderLayer(48, 4, 96, batch_first=True, norm_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], 1) + self.position
        return self.head(self.encoder(tokens)[:, 0])


class HourGlass(nn.Module):
    """Down, up, joined with what was before; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU())
        self.down = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.LeakyReLU(inplace=True))
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.head = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        wide = self.stem(x)
        deep = self.down(wide)
        return {"map": self.head(torch.cat([wide, self.up(deep)], 1)), "label": deep.mean((2, 3))}


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "language model": (LanguageModel, (12,)),
    "vision transformer": (VisionTransformer, (3, 32, 32)),
    "hourglass": (HourGlass, (3, 32, 32)),
    "recurrent": (
        lambda: nn.Sequential(nn.GRU(16, 24, batch_first=True), Computes(lambda self, x: x[0][:, -1])),
        (9, 16),
    ),
    "resnet": (lambda: resnet_reference((1, 1, 1, 1), 10), (3, 64, 64)),
    "mobilenet": (mobilenet, (3, 64, 64)),
}

slow = pytest.mark.slow

RECURRENT = ("language model", "recurrent")
"""Where torch has no kernel for a whole recurrent layer, it goes step by step, in inference also through its inputs."""


def made(name: str, device: str) -> tuple[nn.Module, tuple[int, ...]]:
    make, shape = MODELS[name]
    with torch.device(device):
        return make(), shape


def inputs(name: str, batch: int, device: str) -> Tensor:
    _, shape = MODELS[name]
    with torch.device(device):
        return torch.zeros(batch, *shape, dtype=torch.long) if len(shape) == 1 else torch.rand(batch, *shape)


def tracked_inference_bytes(model: nn.Module, x: Tensor, device: str) -> int:
    tracker = MemTracker()
    tracker.track_external(model, x)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with tracker, torch.no_grad():
            model(x)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    return peak_bytes(tracker, device)


def loss_of(output: Tensor | dict[str, Tensor], labels: Tensor) -> Tensor:
    outputs = list(output.values()) if isinstance(output, dict) else [output]
    losses = [functional.cross_entropy(each.flatten(1), labels) for each in outputs]
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


@contextmanager
def without_onednn(without: bool) -> Iterator[None]:
    torch._C._set_mkldnn_enabled(not without)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(True)


def tracked_training_bytes(model: nn.Module, x: Tensor, optimizer: str, *, mixed_precision: bool = False) -> int:
    labels = torch.zeros(len(x), dtype=torch.long)
    optimiser = OPTIMIZERS[optimizer](model.parameters())
    tracker = MemTracker()
    tracker.track_external(model, optimiser, x, labels)
    with tracker:
        for _ in range(2):
            tracker.reset_mod_stats()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed_precision):
                loss = loss_of(model(x), labels)
            loss.backward()
            del loss
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
    return peak_bytes(tracker, "cpu")


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("name", MODELS)
def test_inference_takes_what_the_tracker_finds(name: str, batch: int) -> None:
    device = "meta" if name in RECURRENT else "cpu"
    model, shape = made(name, device)
    report = analyze(model, input_shape=shape, batch=batch)
    assert report.traced_on == "meta"
    tracked = tracked_inference_bytes(model.eval(), inputs(name, batch, device), device)
    assert report.peak_inference_bytes == pytest.approx(tracked, rel=0.05)


@pytest.mark.parametrize("batch", [2, 8])
@pytest.mark.parametrize("name", [pytest.param(name, marks=slow) if name == "mobilenet" else name for name in MODELS])
def test_training_takes_what_the_tracker_finds(name: str, batch: int) -> None:
    model, shape = made(name, "cpu")
    report = analyze(model, input_shape=shape, batch=batch)
    for optimizer in OPTIMIZERS:
        with without_onednn(name in RECURRENT):
            tracked = tracked_training_bytes(copy.deepcopy(model), inputs(name, batch, "cpu"), optimizer)
        assert report.training_memory(optimizer=optimizer).peak_bytes == pytest.approx(tracked, rel=0.01)


def test_what_has_to_run_really_takes_as_much_as_what_has_not() -> None:
    plain, shape = made("resnet", "cpu")
    looks = Computes(lambda self, x: self.net(x) if x.sum() > -1 else x, net=plain)
    real, fake = (analyze(model, input_shape=shape, batch=4) for model in (looks, plain))
    assert (real.traced_on, fake.traced_on) == ("cpu", "meta")
    # What is looked at takes some bytes, and a batch norm keeps a little beside.
    assert real.peak_inference_bytes == pytest.approx(fake.peak_inference_bytes, rel=1e-3)
    assert list(real.training_memory()) == pytest.approx(list(fake.training_memory()), rel=1e-3)


def test_storages_live_as_long_as_somebody_holds_them() -> None:
    unit = 4 * 100

    def run(self: Computes, x: Tensor) -> Tensor:
        a = x + 1
        view = a[:, 50:]
        b = a * 2
        del a
        c = b + 1
        del b
        return c.relu_() + view.sum()

    report = analyze(Computes(run), input_shape=(100,))
    # In the end x, a by its view, c, the sum and the result.
    assert report.peak_inference_bytes == 4 * unit + 4
    assert (
        analyze(Computes(lambda self, x: x.view(10, 10).t().relu().sum()), input_shape=(100,)).peak_inference_bytes
        == 2 * unit + 4
    )


def test_frozen_weights_have_neither_gradient_nor_state() -> None:
    model = nn.Sequential(nn.Linear(10, 20, bias=False), nn.Linear(20, 30, bias=False))
    model[0].requires_grad_(False)
    memory = analyze(model, input_shape=(10,)).training_memory(optimizer="adam")
    assert memory.weight_bytes == 4 * (200 + 600)
    assert (memory.gradient_bytes, memory.optimizer_bytes) == (4 * 600, 8 * 600)
    for weight in model.parameters():
        weight.requires_grad_(False)
    nothing = analyze(model, input_shape=(10,)).training_memory(optimizer="adam")
    assert (nothing.gradient_bytes, nothing.saved_bytes) == (0, 0)


def test_modules_that_are_kept_in_evaluation_stay_so() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8 * 36, 2))
    trained = analyze(model.train(), input_shape=(3, 8, 8)).training_memory()
    assert analyze(model.eval(), input_shape=(3, 8, 8)).training_memory() == trained
    model.train()[2].eval()
    # Without the noise of the dropout and its result.
    kept = analyze(model, input_shape=(3, 8, 8)).training_memory()
    assert trained.saved_bytes - kept.saved_bytes == 4 * 8 * 36


def test_a_loss_is_an_output_of_one_number() -> None:
    model = Computes(lambda self, x: self.a(x).square().mean(), a=nn.Linear(10, 20, bias=False))
    memory = analyze(model, input_shape=(10,), batch=5).training_memory(optimizer="sgd")
    assert memory.gradient_bytes == 800


def test_what_cannot_be_trained_is_analysed_and_says_why() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten())
    report = analyze(model, input_shape=(3, 8, 8))
    with pytest.raises(
        Untrainable, match=r"^a training step of Sequential fails: Expected more than 1 value per channel"
    ):
        report.training_memory()
    assert report.to_dict()["peak_training_bytes"] is None
    assert analyze(model, input_shape=(3, 8, 8), batch=2).training_memory().peak_bytes > 0


@pytest.mark.parametrize("name", ["vision transformer", "hourglass", pytest.param("resnet", marks=slow)])
def test_mixed_precision_takes_what_the_tracker_finds(name: str) -> None:
    model, shape = made(name, "cpu")
    memory = analyze(model, input_shape=shape, batch=8).training_memory(mixed_precision=True)
    tracked = tracked_training_bytes(model, inputs(name, 8, "cpu"), "momentum", mixed_precision=True)
    assert memory.peak_bytes == pytest.approx(tracked, rel=0.01)
