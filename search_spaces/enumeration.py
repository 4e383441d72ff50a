"""All genotypes of a space: walked one after the other, or counted by multiplying over its independent parts."""

from collections.abc import Callable, Iterator

from search_spaces.choices import Chooser, Domain, Genotype, Recorder, ResultT, Value


class _PathChooser(Chooser):
    """Follows a path of positions through the tree of decisions, then takes first answers: one leaf of a depth-first walk."""

    def __init__(self, path: list[int]) -> None:
        self._path = path
        self.depth = 0
        self.counts: list[int] = []

    def decide(self, domain: Domain) -> Value:
        position = self._path[self.depth] if self.depth < len(self._path) else 0
        self.depth += 1
        self.counts.append(domain.count)
        for index, value in enumerate(domain.values()):
            if index == position:
                return value
        raise AssertionError(f"position {position} is beyond {domain}")

    def next_path(self) -> list[int] | None:
        """The path to the next leaf, or None at the last one."""
        path = [*self._path, *(0 for _ in range(self.depth - len(self._path)))][: self.depth]
        while path:
            path[-1] += 1
            if path[-1] < self.counts[len(path) - 1]:
                return path
            path.pop()
        return None


def enumerate_choices(function: Callable[[Chooser], ResultT]) -> Iterator[tuple[Genotype, ResultT]]:
    """Every genotype of `function` with what it makes, each once, depth first in the order of the options."""
    path: list[int] | None = []
    while path is not None:
        chooser = _PathChooser(path)
        recorder = Recorder(chooser)
        made = function(recorder)
        yield recorder.genotype, made
        path = chooser.next_path()


class _CountingChooser(_PathChooser):
    """A depth-first walk that counts an independent part by itself and multiplies."""

    def __init__(self, path: list[int], memo: dict[str, int]) -> None:
        super().__init__(path)
        self._memo = memo
        self.factor = 1

    def independent(self, name: str, function: Callable[[Chooser], ResultT]) -> ResultT:
        if name not in self._memo:
            self._memo[name] = count(function)
        self.factor *= self._memo[name]
        return function(_PathChooser([]))


def count(function: Callable[[Chooser], object]) -> int:
    """The exact number of genotypes of `function`.

    Walks the tree of decisions, multiplying over the parts that the space declares `independent`; what is left is
    enumerated, so a space of many leaves must declare its independent parts.
    """
    total = 0
    path: list[int] | None = []
    while path is not None:
        memo: dict[str, int] = {}
        chooser = _CountingChooser(path, memo)
        function(chooser)
        total += chooser.factor
        path = chooser.next_path()
    return total
