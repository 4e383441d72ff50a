"""Zero-cost proxies: each against a plain re-implementation or a closed form, what they must not depend on, and the contract."""

import json
import math
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import search_spaces
from analysis import analyze
from nas.proxy_ranking import rank_proxies
from search_spaces import zoo
from search_spaces.architecture import Architecture
from search_spaces.builder import GraphBuilder
from search_spaces.errors import UserError
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    Operation,
    Shape,
    conv2d,
)
from workers.data import load_data
from workers.serial import SerialExecutor
from workers.task import Diverged, EvaluationTask, Outcome
from workers.zero_cost.candidate import Candidate, prepared
from workers.zero_cost.evaluator import ZeroCostEvaluator
from workers.zero_cost.table import PROXIES, find_proxy

TABLE = Path(__file__).parents[3] / "shared" / "data" / "nb201.parquet"
ON_CPU = pytest.mark.skipif(torch.cuda.is_available(), reason="bit for bit is promised on a CPU")


def chain(*operations: Operation, shape: Shape = (1, 8, 8)) -> Architecture:
    builder = GraphBuilder()
    end = builder.chain(builder.input(), *[(type(each).__name__.lower(), each) for each in operations])
    return Architecture(builder.graph(end), (shape,))


def network(*, activation: str = "relu", dropout: float = 0.0, shape: Shape = (1, 8, 8)) -> Architecture:
    return chain(
        conv2d(6, 3),
        BatchNorm(),
        Activation(activation),
        conv2d(8, 3, stride=2, bias=True),
        BatchNorm(),
        Activation(activation),
        GlobalPool("average"),
        Flatten(),
        *([Dropout(dropout)] if dropout else []),
        Linear(10),
        shape=shape,
    )


def task(architecture: Architecture, seed: int = 7) -> EvaluationTask:
    return EvaluationTask(0, architecture, epochs=1, seed=seed)


def scores(architecture: Architecture, *, seed: int = 7, **settings: Any) -> dict[str, float]:
    steps = ZeroCostEvaluator(**settings).evaluate(task(architecture, seed))
    with pytest.raises(StopIteration) as end:
        next(steps)
    return dict(end.value.value.values)


def score(proxy: str, architecture: Architecture, **settings: Any) -> float:
    return scores(architecture, proxies=(proxy,), **settings)[proxy]


@contextmanager
def candidate(architecture: Architecture, *, data: str | None = None, seed: int = 7) -> Iterator[Candidate]:
    with prepared(task(architecture, seed), data=data, batch_size=16) as made:
        yield made


def score_of(proxy: str, made: Candidate) -> float:
    return find_proxy(proxy)(made)


class Plain(nn.Module):
    """`network()` written by hand, with the weights of a candidate; keeps what goes into its gates and comes out of its layers."""

    def __init__(self, made: Candidate, *, norms: bool = True) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, 10)
        self.norms = norms
        with torch.no_grad():
            for mine, theirs in zip(self.layers, made.weights, strict=True):
                mine.weight.copy_(theirs)
            self.second.bias.copy_(made.module.get_parameter("conv2.bias"))
            self.head.bias.copy_(made.module.get_parameter("linear.bias"))

    @property
    def layers(self) -> list[Any]:
        return [self.first, self.second, self.head]

    def forward(self, x: Tensor) -> Tensor:
        self.maps: list[Tensor] = []
        self.gates: list[Tensor] = []
        for layer in (self.first, self.second):
            x = layer(x)
            self.maps.append(x)
            if self.norms:
                mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
                x = (x - mean) / (variance + 1e-5).sqrt()
            self.gates.append(x)
            x = x * (x > 0)
        self.features = x
        self.maps.append(self.head(x.mean((2, 3))))
        return self.maps[-1]


def plain_loss(plain: Plain, made: Candidate) -> Tensor:
    return functional.cross_entropy(plain(made.images), made.labels)


def plain_slopes(plain: Plain, made: Candidate) -> list[Tensor]:
    return list(torch.autograd.grad(plain_loss(plain, made), [layer.weight for layer in plain.layers]))


def plain_snip(plain: Plain, made: Candidate) -> float:
    return sum(
        float((layer.weight.detach() * slope).abs().sum())
        for layer, slope in zip(plain.layers, plain_slopes(plain, made), strict=True)
    )


def plain_grad_norm(plain: Plain, made: Candidate) -> float:
    return sum(float(slope.square().sum()) ** 0.5 for slope in plain_slopes(plain, made))


def plain_grasp(plain: Plain, made: Candidate) -> float:
    # The same by its meaning: -w·Hg = -d/dt of the gradient along w, with the gradient at w + t g, by central differences.
    plain, made = plain.double(), replace(made, images=made.images.double())
    slopes, step = plain_slopes(plain, made), 1e-6

    def shifted(sign: float) -> list[Tensor]:
        with torch.no_grad():
            for layer, slope in zip(plain.layers, slopes, strict=True):
                layer.weight.add_(slope, alpha=sign * step)
        found = plain_slopes(plain, made)
        with torch.no_grad():
            for layer, slope in zip(plain.layers, slopes, strict=True):
                layer.weight.sub_(slope, alpha=sign * step)
        return found

    ahead, behind = shifted(1), shifted(-1)
    return -sum(
        float((layer.weight.detach() * (one - other) / (2 * step)).sum())
        for layer, one, other in zip(plain.layers, ahead, behind, strict=True)
    )


def plain_fisher(plain: Plain, made: Candidate) -> float:
    loss = len(made.labels) * plain_loss(plain, made)
    total = 0.0
    for each, slope in zip(plain.maps, torch.autograd.grad(loss, plain.maps), strict=True):
        for channel in range(each.shape[1]):
            for image in range(len(each)):
                total += float((each[image, channel].detach() * slope[image, channel]).sum()) ** 2 / 2 / len(each)
    return total


def plain_jacob_cov(plain: Plain, made: Candidate) -> float:
    x = made.images.double().requires_grad_()
    plain.double()(x).sum().backward()
    assert x.grad is not None
    rows = x.grad.flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    rows = rows / rows.norm(dim=1, keepdim=True)
    values = torch.linalg.eigvalsh(rows @ rows.T) + 1e-5
    return -float((values.log() + 1 / values).sum())


def plain_naswot(plain: Plain, made: Candidate) -> float:
    with torch.no_grad():
        plain(made.images)
    codes = torch.cat([each.flatten(1) > 0 for each in plain.gates], 1)
    kernel = [[int((one == other).sum()) for other in codes] for one in codes]
    return float(torch.linalg.eigvalsh(torch.tensor(kernel, dtype=torch.float64)).log().sum())


BY_HAND: dict[str, Callable[[Plain, Candidate], float]] = {
    "snip": plain_snip,
    "grad_norm": plain_grad_norm,
    "grasp": plain_grasp,
    "fisher": plain_fisher,
    "jacob_cov": plain_jacob_cov,
    "naswot": plain_naswot,
}


@pytest.mark.parametrize("proxy", BY_HAND)
@pytest.mark.parametrize("data", ["digits", None])
def test_proxies_by_hand(proxy: str, data: str | None) -> None:
    with candidate(network(), data=data) as made:
        expected = BY_HAND[proxy](Plain(made), made)
        assert score_of(proxy, made) == pytest.approx(expected, rel=1e-3)


def test_synflow_by_hand() -> None:
    with candidate(network()) as made:
        plain = Plain(made, norms=False).double()
        with torch.no_grad():
            for parameter in plain.parameters():
                parameter.abs_()
        plain(torch.ones((1, 1, 8, 8), dtype=torch.float64)).sum().backward()
        expected = sum(float((layer.weight.detach() * layer.weight.grad).sum()) for layer in plain.layers)
        assert score_of("synflow", made) == pytest.approx(expected, rel=1e-9)
    assert score("log10_synflow", network()) == pytest.approx(math.log10(1 + score("synflow", network())))


def test_synflow_of_a_linear_chain_is_the_number_of_layers_times_the_flow() -> None:
    # Each layer passes on the whole flow, so each has the score R.
    architecture = chain(
        Flatten(), Linear(5, bias=False), Linear(7, bias=False), Linear(3, bias=False), shape=(2, 3, 3)
    )
    with candidate(architecture) as made:
        flow = torch.ones(18, dtype=torch.float64)
        for weight in made.weights:
            flow = weight.detach().double().abs() @ flow
        assert score_of("synflow", made) == pytest.approx(3 * float(flow.sum()), rel=1e-9)


def test_zen_by_hand() -> None:
    with candidate(network()) as made:
        torch.manual_seed(3)
        found = score_of("zen", made)
    with candidate(network()) as made:
        torch.manual_seed(3)
        made.module.double()
        for weight in made.weights:
            nn.init.normal_(weight)
        x = torch.randn_like(made.images, dtype=torch.float64)
        moved = x + 0.01 * torch.randn_like(x)
        plain = Plain(made).double()
        with torch.no_grad():
            for layer, weight in zip(plain.layers, made.weights, strict=True):
                layer.weight.copy_(weight)
        nn.init.zeros_(plain.second.bias)
        with torch.no_grad():
            plain(moved)
            other = plain.features
            plain(x)
    distance = (plain.features - other).abs().sum((1, 2, 3)).mean()
    deviations = [each.var((0, 2, 3), correction=0).mean().sqrt() for each in plain.maps[:2]]
    assert found == pytest.approx(float(distance.log() + sum(each.log() for each in deviations)), rel=1e-6)


def test_zen_of_one_convolution_grows_with_the_logarithm_of_its_width() -> None:
    # Nothing is normalised, so Δ is α times a sum over channels of values that are alike.
    narrow, wide = (chain(conv2d(width, 1), GlobalPool("average"), Flatten(), Linear(10)) for width in (16, 512))
    assert score("zen", wide) - score("zen", narrow) == pytest.approx(math.log(32), abs=0.4)


def test_size_is_that_of_the_analysis() -> None:
    report = analyze(network())
    assert scores(network(), proxies=("params", "macs")) == {"params": report.params, "macs": report.macs}


def test_synflow_and_zen_see_no_data() -> None:
    for proxy in ("synflow", "zen"):
        assert score(proxy, network(), data="digits") == score(proxy, network(), data=None)
    for proxy in BY_HAND:
        assert score(proxy, network(), data="digits") != score(proxy, network(), data=None)


@pytest.mark.parametrize("norm", [BatchNorm(), LayerNorm(), LocalResponseNorm(3)])
def test_synflow_leaves_norms_out(norm: Operation) -> None:
    with_norm = chain(conv2d(4, 3), norm, Activation("relu"), Flatten(), Linear(10))
    without = chain(conv2d(4, 3), Activation("relu"), Flatten(), Linear(10))
    assert score("synflow", with_norm) == score("synflow", without)


@pytest.mark.parametrize("proxy", ["naswot", "jacob_cov", "snip", "grad_norm", "fisher", "grasp"])
def test_the_order_of_the_batch_does_not_matter(proxy: str) -> None:
    with candidate(network(), data="digits") as made:
        expected = score_of(proxy, made)
    with candidate(network(), data="digits") as made:
        order = torch.randperm(len(made.labels))
        shuffled = replace(made, images=made.images.detach()[order], labels=made.labels[order])
        # Sums are taken in another order, and a gate within rounding of 0 may turn.
        assert score_of(proxy, shuffled) == pytest.approx(expected, rel=1e-3)


def test_the_gradient_norm_of_a_linear_network_scales_with_its_input() -> None:
    # With weights 0 every class is equally likely, whatever the input, so the gradient is linear in the input.
    def norm(factor: float) -> float:
        with candidate(chain(Flatten(), Linear(10)), data="digits") as made:
            for parameter in made.module.parameters():
                nn.init.zeros_(parameter)
            return score_of("grad_norm", replace(made, images=factor * made.images))

    assert norm(3.0) == pytest.approx(3 * norm(1.0), rel=1e-5)


@ON_CPU
def test_the_same_task_gives_the_same_scores_whatever_goes_on_around_it() -> None:
    architecture = network(dropout=0.5)
    expected = scores(architecture)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.manual_seed(123)
        assert scores(architecture) == expected
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    # Nor does a score depend on what else is asked for.
    assert {name: score(name, architecture) for name in PROXIES} == expected
    changed = scores(architecture, seed=8)
    assert {name for name in PROXIES if changed[name] == expected[name]} == {"params", "macs"}


def test_the_random_numbers_of_the_caller_are_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    scores(network())
    assert torch.equal(torch.rand(3), expected)


@ON_CPU
def test_a_proxy_leaves_nothing_behind_for_the_next() -> None:
    first = scores(network(), data=None, seed=31)
    with candidate(network(), seed=31) as made:
        assert not made.images.requires_grad
    assert scores(network(), data=None, seed=31) == first


def test_dropout_is_off() -> None:
    without, withal = scores(network()), scores(network(dropout=0.5))
    assert withal == without


@ON_CPU
def test_names_do_not_matter() -> None:
    plain = network()
    nodes = tuple(node._replace(name=f"renamed_{index}") for index, node in enumerate(plain.graph.nodes))
    renamed = Architecture(replace(plain.graph, nodes=nodes), plain.input_shapes)
    assert renamed.key == plain.key
    assert scores(renamed) == scores(plain)


def test_isomorphs_differ_by_their_initial_weights_alone() -> None:
    def branches(order: tuple[int, ...]) -> Architecture:
        builder = GraphBuilder()
        stem = builder.add("stem", conv2d(8, 3), builder.input())
        kernels = {1: conv2d(16, 1), 3: conv2d(16, 3), 5: conv2d(16, 5)}
        parts = [
            builder.chain(stem, ("relu", Activation("relu")), ("conv", kernels[size]), ("norm", BatchNorm()))
            for size in order
        ]
        end = builder.chain(
            builder.add("sum", Add(), *parts),
            ("relu", Activation("relu")),
            ("pool", GlobalPool("average")),
            ("flatten", Flatten()),
            ("linear", Linear(10)),
        )
        return Architecture(builder.graph(end), ((1, 8, 8),)).simplified()

    one, other = branches((1, 3, 5)), branches((5, 1, 3))
    assert one.key == other.key
    proxies = ("naswot", "log10_synflow", "snip", "grad_norm", "zen")
    ours, theirs = scores(one, proxies=proxies), scores(other, proxies=proxies)
    spread = {
        name: numpy.std([scores(one, proxies=(name,), seed=seed)[name] for seed in range(20)]) for name in proxies
    }
    for name in proxies:
        assert abs(ours[name] - theirs[name]) < 6 * spread[name], name
    assert score("params", one) == score("params", other)
    assert score("macs", one) == score("macs", other)


def test_images_and_sequences_and_vectors_are_scored() -> None:
    sequence = chain(
        Conv(6, (3,), padding=((1, 1),)),
        BatchNorm(),
        Activation("relu"),
        GlobalPool("max"),
        Flatten(),
        Linear(4),
        shape=(3, 20),
    )
    vector = chain(Linear(40), BatchNorm(), Activation("relu"), Linear(3), shape=(5,))
    for architecture in (network(shape=(3, 32, 32)), sequence, vector):
        found = scores(architecture, data=None)
        assert tuple(found) == tuple(PROXIES)
        assert all(math.isfinite(value) for value in found.values())


@pytest.mark.parametrize("kind", ["relu6", "gelu", "silu", "hardswish"])
def test_gates_other_than_relu_give_codes(kind: str) -> None:
    assert score("naswot", network(activation=kind)) == pytest.approx(score("naswot", network()), rel=0.05)


def test_a_network_without_gates_has_no_codes() -> None:
    with pytest.raises(Diverged, match="naswot: no activation gives codes"):
        score("naswot", network(activation="tanh"))
    rest = tuple(name for name in PROXIES if name != "naswot")
    assert all(map(math.isfinite, scores(network(activation="tanh"), proxies=rest).values()))


def test_a_network_that_sees_nothing_diverges_or_scores_zero() -> None:
    space = search_spaces.load("nasbench201", input_shape=(1, 8, 8))
    nothing = space.from_arch_str("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    for architecture in (nothing, nothing.simplified()):
        for proxy in ("naswot", "jacob_cov", "zen"):
            with pytest.raises(Diverged, match=proxy):
                score(proxy, architecture)
        for proxy in ("synflow", "log10_synflow"):
            assert score(proxy, architecture) == 0
        for proxy in ("snip", "grasp"):
            assert math.isfinite(score(proxy, architecture))


def test_dead_branches_do_not_change_the_zen_score_but_by_the_weights() -> None:
    space = search_spaces.load("nasbench201", input_shape=(1, 8, 8))
    dead = space.from_arch_str("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|nor_conv_3x3~2|")
    assert score("zen", dead) == pytest.approx(score("zen", dead.simplified()), rel=0.03)


def test_deep_networks_are_scored_in_double_precision() -> None:
    layers = [each for _ in range(60) for each in (conv2d(64, 3), Activation("relu"))]
    deep = chain(*layers, GlobalPool("average"), Flatten(), Linear(10), shape=(1, 4, 4))
    found = scores(deep, proxies=("synflow", "log10_synflow", "zen"), data=None)
    assert found["synflow"] > torch.finfo(torch.float32).max
    assert found["log10_synflow"] == pytest.approx(math.log10(found["synflow"]))
    assert found["zen"] > math.log(torch.finfo(torch.float32).max)
    with pytest.raises(Diverged, match=r"synflow is (inf|nan)"):
        score("synflow", chain(*(6 * layers), Flatten(), Linear(10), shape=(1, 4, 4)), data=None)


@pytest.mark.parametrize("name", ["lenet5", "mobilenet_v2"])
def test_classic_networks_are_scored(name: str) -> None:
    shape = {"lenet5": (1, 32, 32), "mobilenet_v2": (3, 32, 32)}[name]
    architecture = zoo.load(name, input_shape=shape, classes=10)
    # The Hessian of a large network takes long.
    proxies = tuple(name for name in PROXIES if name not in ("grasp", "naswot"))
    assert all(map(math.isfinite, scores(architecture, proxies=proxies, data=None, batch_size=4).values()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_scores_of_a_cpu_up_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    # Weights and batch are the same; `zen` draws its own on the device.
    proxies = tuple(name for name in PROXIES if name != "zen")
    on_gpu = scores(network(), proxies=proxies)
    assert math.isfinite(score("zen", network()))
    monkeypatch.setattr("workers.zero_cost.candidate.best_device", lambda: torch.device("cpu"))
    assert on_gpu == pytest.approx(scores(network(), proxies=proxies), rel=0.05)


def test_the_batch_is_of_the_training_images_alone() -> None:
    train = {image.tobytes() for image in load_data("digits").train.images}
    with candidate(network(), data="digits") as made:
        images = made.images.cpu().contiguous().numpy()
        assert len({image.tobytes() for image in images} & train) == len(images)
        assert len(made.labels.unique()) > 3


def test_the_evaluator_keeps_the_contract() -> None:
    evaluator = ZeroCostEvaluator(("naswot", "params"))
    assert evaluator.metrics == ("naswot", "params")
    assert (evaluator.measured, evaluator.reported, evaluator.levels) == ((), (), 1)
    assert ZeroCostEvaluator("naswot, params") == evaluator
    assert ZeroCostEvaluator(["naswot", "params"]) == evaluator
    assert pickle.loads(pickle.dumps(evaluator)) == evaluator
    assert json.loads(evaluator.identity) == {
        "evaluator": "zero_cost",
        "version": 1,
        "proxies": ["naswot", "params"],
        "batch_size": 64,
        "data": "digits",
        "split": 1,
    }
    noise = json.loads(ZeroCostEvaluator(data=None).identity)
    assert (noise["images"], noise["labels"], "data" in noise) == ("standard normal", "random", False)
    others = [ZeroCostEvaluator(("naswot",)), replace(evaluator, batch_size=32), replace(evaluator, data=None)]
    assert len({each.identity for each in [evaluator, *others]}) == 4


class OneTask:
    """A source of a single task, which keeps its outcome."""

    def __init__(self, given: EvaluationTask) -> None:
        self._given: EvaluationTask | None = given
        self.outcome: Outcome | None = None

    @property
    def finished(self) -> bool:
        return self.outcome is not None

    def next_task(self, worker: str) -> EvaluationTask | None:
        given, self._given = self._given, None
        return given

    def finish(self, number: int, outcome: Outcome) -> None:
        self.outcome = outcome


def test_an_executor_gets_scores_or_the_reason_why_there_are_none() -> None:
    for architecture, state, reason in (
        (network(), "complete", None),
        (network(activation="tanh"), "diverged", "naswot: no activation gives codes; it needs ReLU"),
    ):
        source: Any = OneTask(task(architecture))
        SerialExecutor(ZeroCostEvaluator(("macs", "naswot"))).run(source)
        assert source.outcome.state.value == state
        assert (source.outcome.reason or "").startswith(reason or "")
        assert set(source.outcome.values) == ({"macs", "naswot"} if reason is None else set())


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'naswot'"):
        ZeroCostEvaluator(("naswat",))
    with pytest.raises(UserError, match="no proxies"):
        ZeroCostEvaluator(())
    with pytest.raises(UserError, match="named twice"):
        ZeroCostEvaluator(("zen", "zen"))
    with pytest.raises(UserError, match="at least 2"):
        ZeroCostEvaluator(batch_size=1)
    with pytest.raises(UserError, match="unknown data"):
        ZeroCostEvaluator(data="digitz")
    with pytest.raises(UserError, match=r"reads \(3, 32, 32\).*'digits' are \(1, 8, 8\)"):
        scores(network(shape=(3, 32, 32)))
    with pytest.raises(UserError, match="one number for each class"):
        scores(chain(conv2d(4, 3)), data=None)
    with pytest.raises(UserError, match="whole numbers"):
        scores(zoo.load("character_cnn"), data=None)


def test_the_evaluator_is_described_without_torch() -> None:
    code = (
        "import sys; from workers.zero_cost.evaluator import ZeroCostEvaluator;"
        "ZeroCostEvaluator().identity, ZeroCostEvaluator().metrics;"
        "print([name for name in ('torch', 'scipy', 'sklearn', 'ray', 'pandas') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def agreement(column: str, proxy: str, number: int) -> float:
    """Spearman's correlation of our scores with published ones, on standard normal images."""
    ranking = rank_proxies(space="nasbench201", table=str(TABLE), against=column, proxies=(proxy,), number=number)
    found = ranking.proxies[0].spearman
    assert ranking.number == number and found is not None
    return found


PUBLISHED = [("c10_naswot", "naswot"), ("c10_synflow", "synflow")]


@pytest.mark.skipif(not TABLE.exists(), reason=f"the table of NAS-Bench-201 is not at {TABLE}")
@pytest.mark.parametrize(("column", "proxy"), PUBLISHED)
def test_thirty_random_cells_rank_as_published(column: str, proxy: str) -> None:
    assert agreement(column, proxy, 30) >= 0.9


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.skipif(not TABLE.exists(), reason=f"the table of NAS-Bench-201 is not at {TABLE}")
@pytest.mark.parametrize(("column", "proxy"), PUBLISHED)
def test_three_hundred_random_cells_rank_as_published(column: str, proxy: str) -> None:
    assert agreement(column, proxy, 300) >= 0.9
