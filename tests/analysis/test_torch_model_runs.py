"""How torch models are run for their report: what they may be, what is left of the run, and what bad input gets."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from analysis import analyze
from analysis.torch_model import Input, analyze_module
from search_spaces.errors import UserError
from tests.analysis.computes import Computes, parameter


def state_of(model: nn.Module) -> list[Any]:
    """All that a run might change, by identity and by content."""
    found: list[Any] = [torch.get_rng_state().tolist(), torch.backends.mha.get_fastpath_enabled()]
    found.append((len(torch_module._global_forward_hooks), len(torch_module._global_forward_pre_hooks)))
    for path, part in model.named_modules():
        found.append((path, type(part), part.training, sorted(vars(part))))
        found += [(name, id(value)) for name, value in vars(part).items()]
        found.append((list(part._forward_hooks), list(part._forward_pre_hooks)))
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        found.append(
            (name, id(tensor), tensor.device, tensor._version, tensor.requires_grad, tensor.grad, sorted(vars(tensor)))
        )
        found.append(tensor.detach().clone().tolist())
    return found


class Restless(nn.Module):
    """Does in its forward pass whatever a model should not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.lstm = nn.LSTM(36, 4, batch_first=True)
        self.register_buffer("calls", torch.zeros(()))
        self.cache: dict[str, Tensor] = {}
        self.seen: list[Tensor] = []
        self.last: Tensor | None = None
        self.looks = False
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.norm.running_mean = self.norm.running_mean * 0.9
        y = self.norm(self.conv(x))
        self.cache["y"], self.last = y, y
        self.seen.append(torch.rand(3) + y.mean())
        self.conv.register_forward_hook(lambda module, inputs, output: None)
        self.train()
        if self.looks and y.sum() > -1e9:
            y = y + 1
        if self.fails:
            raise RuntimeError("on purpose")
        return self.lstm(y.flatten(2))[0]


@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_afterwards_as_it_was(looks: bool, training: bool) -> None:
    model = Restless().train(training)
    model.norm.eval()
    model.looks = looks
    before = state_of(model)
    report = analyze(model, input_shape=(3, 8, 8), batch=2)
    assert report.traced_on == ("cpu" if looks else "meta")
    assert report.training_memory().peak_bytes > report.peak_inference_bytes
    assert report.layers
    assert state_of(model) == before
    model.fails = True
    before = state_of(model)
    with pytest.raises(UserError, match="on purpose"):
        analyze(model, input_shape=(3, 8, 8))
    assert state_of(model) == before


def test_a_real_run_reads_the_very_weights_of_the_model() -> None:
    weight = parameter(4, 4)
    addresses = []

    def run(self: Any, x: Tensor) -> Tensor:
        if x.sum() > -1:
            addresses.append(self.w.data_ptr())
        return x @ self.w

    assert analyze(Computes(run, w=weight), input_shape=(4,)).traced_on == "cpu"
    assert set(addresses) == {weight.data_ptr()}


def test_nothing_is_allocated_for_weights_that_no_memory_could_hold_twice() -> None:
    # 4 TB, of which only one element exists.
    huge = nn.Parameter(torch.zeros(1).expand(2**20, 2**20))
    report = analyze(Computes(lambda self, x: x @ self.w, w=huge), input_shape=(2**20,))
    assert report.macs == 2**40
    with torch.device("meta"):
        model = nn.Linear(2**20, 2**20)
    assert analyze(model, input_shape=(2**20,)).weight_bytes == 4 * (2**40 + 2**20)
    assert analyze(model, input_shape=(2**20,)).training_memory(optimizer="adam").optimizer_bytes == 8 * (2**40 + 2**20)


def test_a_model_may_make_tensors_and_hold_others_than_weights() -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        made = torch.tensor([1.0, 2.0, 3.0, 4.0]) * torch.tensor(3.0).item() + torch.arange(4) + torch.randn(4)
        filled = torch.zeros(1, 3, 4)
        filled[:, 1:] = (x + made + self.constants[0])[:, :2]
        return filled.to("cpu") @ self.constants[1].to(x.device)

    report = analyze(Computes(run, constants=[torch.rand(4), torch.rand(4, 5)]), input_shape=(3, 4))
    assert report.traced_on == "meta"
    assert report.macs == 3 * 4 * 5
    assert report.uncounted == ()
    assert report.receptive_field is not None


LOOKING = {
    "branch": lambda self, x: self.a(x) if x.sum() > 0 else x,
    "numpy": lambda self, x: self.a(torch.from_numpy(x.numpy())),
    "mask": lambda self, x: self.a(x[x[:, 0] > -1]),
    "item": lambda self, x: self.a(x) * x.max().item(),
}


@pytest.mark.parametrize("way", LOOKING)
def test_a_model_that_looks_at_numbers_is_run_really_and_says_so(way: str) -> None:
    report = analyze(Computes(LOOKING[way], a=nn.Linear(4, 6)), input_shape=(4,), batch=3)
    assert (report.traced_on, report.macs) == ("cpu", 3 * 24)
    assert report.to_dict()["traced_on"] == "cpu"
    assert report.training_memory().gradient_bytes == 4 * (24 + 6)


def test_a_model_may_differentiate_in_its_forward_pass() -> None:
    def force(self: Any, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.a(x).sum(), x)
        return gradient

    report = analyze(Computes(force, a=nn.Linear(4, 6)), input_shape=(4,))
    # Forward, and backward to the input; the gradient of the weights is not asked for.
    assert (report.traced_on, report.macs) == ("cpu", 24 + 24)


def test_an_input_that_is_looked_up_is_taken_for_whole_numbers() -> None:
    model = nn.Sequential(nn.Embedding(100, 8), nn.Conv1d(7, 4, 3))
    report = analyze(model, input_shape=(7,))
    assert report.inputs == (Input((7,), "int64"),)
    assert report.to_dict()["inputs"] == [{"shape": [7], "dtype": "int64"}]
    both = Computes(lambda self, x, t: self.table(t.flatten(1)).sum(1) + x, table=nn.Embedding(100, 8))
    assert analyze(both, input_shape=((8,), (3, 2))).inputs == (Input((8,)), Input((3, 2), "int64"))
    bag = nn.EmbeddingBag(100, 8)
    assert analyze(bag, input_shape=(7,)).inputs == (Input((7,), "int64"),)


def test_number_types_of_inputs_can_be_told() -> None:
    def run(self: Any, tokens: Tensor, keep: Tensor, time: Tensor) -> Tensor:
        assert (tokens.dtype, keep.dtype, time.shape) == (torch.int64, torch.bool, (2,))
        return nn.functional.one_hot(tokens, 5).float().masked_fill(~keep[:, :, None], 0.0) + time[:, None, None]

    report = analyze(Computes(run), input_shape=((7,), (7,), ()), input_dtypes=("int64", "bool"), batch=2)
    assert report.inputs == (Input((7,), "int64"), Input((7,), "bool"), Input(()))
    assert report.receptive_field is not None


@pytest.mark.parametrize(("dtype", "size"), [("float64", 8), ("bfloat16", 2)])
def test_the_type_of_the_numbers_is_that_of_weights_and_inputs(dtype: str, size: int) -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        assert x.dtype == self.a.weight.dtype == getattr(torch, dtype)
        assert isinstance(self.a.get_parameter("bias"), nn.Parameter)
        return self.a(x)

    report = analyze(Computes(run, a=nn.Linear(4, 6)), input_shape=(4,), dtype=dtype)
    assert (report.weight_bytes, report.activation_bytes) == (30 * size, 6 * size)
    assert report.peak_inference_bytes == (30 + 4 + 6) * size


def test_weights_without_shapes_get_them_in_a_copy() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(5))
    report = analyze(model, input_shape=(3, 8, 8))
    assert report.params == 4 * 27 + 4 + 8 + 5 * 4 * 36 + 5
    assert [row.name for row in report.layers] == ["0", "1", "2", "3"]
    assert type(model[0]) is nn.LazyConv2d
    assert torch.nn.parameter.is_lazy(model[3].weight)
    assert report.training_memory().gradient_bytes == 4 * report.params
    with pytest.raises(UserError, match="get their shapes from its first input"):
        analyze(model, input_shape=(8,))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_scripted_traced_compiled_and_wrapped_models() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    macs = analyze(plain, input_shape=(3, 8, 8)).macs
    scripts = torch.jit.script(plain), torch.jit.trace(plain, torch.rand(1, 3, 8, 8))
    for model in (*scripts, nn.DataParallel(plain), torch.compile(plain)):
        report = analyze(model, input_shape=(3, 8, 8))
        assert (report.macs, report.params, report.uncounted) == (macs, 112, ())


@dataclass
class Answer:
    first: Tensor
    second: Tensor


def test_outputs_may_be_nested() -> None:
    model = Computes(
        lambda self, x: OrderedDict(a=[None, Answer(self.a(x), x)], b=3), a=nn.Conv2d(3, 4, 3, stride=2, padding=1)
    )
    report = analyze(model, input_shape=(3, 8, 8))
    assert report.receptive_field is not None
    assert [window.stride for window in report.receptive_field] == [2, 2]


def failing(self: Any, x: Tensor) -> Tensor:
    raise KeyError("the third\nwheel")


BAD = {
    "wrong size": (
        nn.Sequential(nn.Flatten(), nn.Linear(48, 2)),
        [(3, 5, 5)],
        r"^module '1' \(Linear\) fails at aten.linear: .*3x5x5",
    ),
    "wrong channels": (nn.Conv2d(3, 4, 3), [(4, 8, 8)], "^Conv2d fails at aten.conv2d: .*channel.*4x8x8"),
    "too few inputs": (nn.Bilinear(2, 3, 4), [(2,)], "^Bilinear fails: .*input2"),
    "own failure": (
        nn.Sequential(nn.Identity(), Computes(failing)),
        [(4,)],
        r"^module '1' \(Computes\) fails: KeyError: 'the third",
    ),
    "failure behind another": (
        Computes(lambda self, x: failing(self, self.a(x)), a=nn.Linear(4, 4)),
        [(4,)],
        "^Computes fails: KeyError: 'the third",
    ),
    "whole numbers wanted": (Computes(lambda self, x: nn.functional.one_hot(x + 1)), [(4,)], "128:int64"),
    "no forward": (nn.Module(), [(4,)], "^Module fails: .*forward"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_failure_names_the_module_and_the_reason_in_one_line(name: str) -> None:
    model, shapes, message = BAD[name]
    with pytest.raises(UserError, match=message) as caught:
        analyze(model, input_shape=shapes)
    assert "\n" not in str(caught.value)


def test_other_bad_questions_get_one_line() -> None:
    with pytest.raises(UserError, match="input_shape=\\(3, 224, 224\\)"):
        analyze(nn.Linear(3, 2))
    with pytest.raises(UserError, match="of the type 'int'"):
        analyze_module(3, [(3,)])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="2 number types for 1 inputs"):
        analyze(nn.Linear(3, 2), input_shape=(3,), input_dtypes=("int64", "int64"))
    with pytest.raises(UserError, match="did you mean 'int64'"):
        analyze(nn.Linear(3, 2), input_shape=(3,), input_dtypes=("int46",))
    with pytest.raises(UserError, match="unknown number type 'float31'"):
        analyze(nn.Linear(3, 2), input_shape=(3,), dtype="float31")
    report = analyze(nn.Linear(3, 2), input_shape=(3,), dtype="float64")
    with pytest.raises(UserError, match="nothing to mix"):
        report.training_memory(mixed_precision=True)
    with pytest.raises(UserError, match="did you mean 'adam'"):
        report.training_memory(optimizer="adan")
