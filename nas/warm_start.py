"""The architectures that a warm start begins with: the best of many random ones that keep the constraints, by a proxy.

As many are begun with as the controllers with a model begin with at random, 10; and they are the best tenth of those
drawn, which is the share that `nas proxies` judges a proxy by.

References:
    Abdelfattah, Mehrotra, Dudziak, Lane: Zero-Cost Proxies for Lightweight NAS. ICLR 2021 (section 4.2, warm-up).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from math import isfinite

from analysis import analyze
from nas.controllers.known import KnownArchitectures
from nas.controllers.warm_started import Start
from nas.objectives import Constraint
from search_spaces.choices import Genotype, RandomChooser
from search_spaces.errors import UserError
from search_spaces.space import Elaboration, SearchSpace
from workers.zero_cost.evaluator import ZeroCostEvaluator, proxy_score

COUNT = 10
DRAWN_FOR_EACH = 10
MOST_MISSES = 1_000
"""How many draws in a row may be known or break a constraint before those found count as all there are."""


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Begin with `count` of `drawn` random architectures, the best by `proxy`."""

    proxy: str
    count: int
    drawn: int


def parse_warm_start(text: str) -> WarmStart:
    """Reads `PROXY`, `PROXY:COUNT` or `PROXY:COUNT:DRAWN`.

    Raises:
        UserError: it is not of this form, or fewer are drawn than begun with.
    """
    proxy, *numbers = text.split(":")
    if len(numbers) > 2 or not all(number.isdecimal() and int(number) for number in numbers):
        raise UserError(f"warm_start {text!r}: write PROXY, PROXY:COUNT or PROXY:COUNT:DRAWN, like naswot:10:100")
    count = int(numbers[0]) if numbers else COUNT
    drawn = int(numbers[1]) if len(numbers) > 1 else DRAWN_FOR_EACH * count
    if drawn < count:
        raise UserError(
            f"warm_start {text!r}: the best {count} of {drawn} drawn; draw at least as many as you begin with"
        )
    return WarmStart(proxy, count, drawn)


class Proxy:
    """Scores the architectures of a space by one proxy; a score depends on the answers, the images and the seed alone.

    `data` is the data set whose images are the batch, None for noise.

    Raises:
        UserError: the proxy is unknown, or it cannot score what the space makes.
    """

    def __init__(self, name: str, space: SearchSpace, *, data: str | None, seed: int) -> None:
        self.name = name
        self._evaluator = ZeroCostEvaluator((name,), data=data)
        self._evaluator.check(space.elaborate(RandomChooser(rng=random.Random(0))).architecture)
        self._seed = seed
        try:
            self._memo = _scores_of(space, name, data, seed)
        except TypeError:
            # A space that cannot be hashed has a memo for each search.
            self._memo = {}

    def score(self, elaboration: Elaboration) -> float:
        """The score of an architecture, simplified as it would be trained; -inf where it has none."""
        genotype = elaboration.genotype
        if genotype not in self._memo:
            architecture = elaboration.architecture.simplified()
            self._memo[genotype] = proxy_score(self._evaluator, architecture, seed=self._seed)
        return self._memo[genotype]


@lru_cache(maxsize=4)
def _scores_of(space: SearchSpace, proxy: str, data: str | None, seed: int) -> dict[Genotype, float]:
    """The scores worked out in this process: the searches of a bake-off draw the same architectures many times."""
    return {}


def find_starts(
    wanted: WarmStart, proxy: Proxy, space: SearchSpace, constraints: Sequence[Constraint], *, seed: int
) -> list[Start]:
    """The best of the architectures drawn, the best first; none twice, none without a score, fewer where there are no more.

    Raises:
        UserError: no architecture was found, or none has a score.
    """
    found = _draw(wanted.drawn, space, constraints, random.Random(_number(seed)))
    scored = [(proxy.score(elaboration), elaboration.genotype) for elaboration in found]
    known = sorted((each for each in scored if isfinite(each[0])), key=lambda each: -each[0])
    if not known:
        raise UserError(
            f"warm_start: none of {len(found)} random architectures that keep the constraints has a {wanted.proxy}; "
            "take another proxy or leave it out"
        )
    return [
        Start(genotype, {"proxy": wanted.proxy, "score": score, "rank": rank, "drawn": len(found)})
        for rank, (score, genotype) in enumerate(known[: wanted.count], start=1)
    ]


def _draw(number: int, space: SearchSpace, constraints: Sequence[Constraint], rng: random.Random) -> list[Elaboration]:
    """Random architectures that keep the constraints, none isomorphic to another."""
    known = KnownArchitectures(space)
    found: dict[str, Elaboration] = {}
    misses = 0
    while len(found) < number and misses < MOST_MISSES:
        misses += 1
        elaboration = space.elaborate(RandomChooser(rng=rng))
        if constraints:
            figures = analyze(elaboration.architecture.simplified()).figures()
            if not all(constraint.holds(figures) for constraint in constraints):
                continue
        key = known.key(elaboration)
        if key not in found:
            found[key] = elaboration
            misses = 0
    return list(found.values())


def _number(seed: int) -> int:
    """Other random numbers than those of the first proposal, which would draw the same architecture."""
    return int.from_bytes(sha256(f"{seed}/warm start".encode()).digest()[:8])
