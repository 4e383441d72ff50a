"""Tells what must break the hard constraints, from the figures of trials that were rejected and of those that were not.

A controller does not know the constraints, but each of them bounds one figure of the analysis from one side, and the
figures of a candidate can be worked out before it is proposed. What was admitted spans a box in which all bounds are
kept. A rejected trial lies outside it in some directions (a figure, above or below), and at least one of these is to
blame; so whatever goes at least as far in all of them breaks the same bound. Nothing admissible is ever ruled out.
"""

from collections.abc import Iterable, Mapping

_Figures = Mapping[str, float]


class Feasibility:
    """What has been learnt of the constraints."""

    def __init__(self) -> None:
        self._least: dict[str, float] = {}
        self._most: dict[str, float] = {}
        self._rejected: list[dict[str, float]] = []

    def admitted(self, figures: Iterable[tuple[str, float]]) -> None:
        """Takes in the figures of a trial that kept all constraints."""
        for name, figure in figures:
            self._least[name] = min(figure, self._least.get(name, figure))
            self._most[name] = max(figure, self._most.get(name, figure))

    def rejected(self, figures: Iterable[tuple[str, float]]) -> None:
        """Takes in the figures of a trial that broke one."""
        self._rejected.append(dict(figures))

    def ruled_out(self, figures: Iterable[tuple[str, float]]) -> bool:
        """Whether an architecture of these figures must break a constraint, too."""
        if not self._rejected:
            return False
        candidate = dict(figures)
        return any(self._at_least_as_far(candidate, other) for other in self._rejected)

    def _at_least_as_far(self, candidate: _Figures, rejected: _Figures) -> bool:
        if not self._least:
            return candidate == rejected
        blamed = False
        for name, figure in rejected.items():
            if figure > self._most.get(name, figure):
                blamed = True
                if candidate.get(name, figure) < figure:
                    return False
            elif figure < self._least.get(name, figure):
                blamed = True
                if candidate.get(name, figure) > figure:
                    return False
        return blamed
