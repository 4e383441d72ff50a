"""What every search space must hold to: a test class to inherit from, with a fixture `space`."""

import random

import pytest
import torch

from search_spaces import Architecture, Genotype, SearchSpace, to_module
from search_spaces.choices import RandomChooser, Recorder
from search_spaces.errors import UserError
from search_spaces.space import Elaboration


def sampled(space: SearchSpace, number: int, *, seed: int = 0) -> list[Elaboration]:
    """`number` random elaborations of `space`."""
    rng = random.Random(seed)
    return [space.elaborate(RandomChooser(rng=rng)) for _ in range(number)]


class SearchSpaceContract:
    """Inherit, and give a fixture `space`."""

    @pytest.fixture
    def space(self) -> SearchSpace:
        raise NotImplementedError

    def test_is_a_value(self, space: SearchSpace) -> None:
        assert hash(space) == hash(space)
        assert space.name

    def test_the_same_answers_give_an_equal_architecture(self, space: SearchSpace) -> None:
        for elaboration in sampled(space, 20):
            again = space.replay(elaboration.genotype)
            assert again == elaboration
            assert hash(again.architecture) == hash(elaboration.architecture)

    def test_sample_is_a_function_of_the_seed(self, space: SearchSpace) -> None:
        assert space.sample(rng=random.Random(5)) == space.sample(rng=random.Random(5))

    def test_samples_are_diverse(self, space: SearchSpace) -> None:
        assert len({elaboration.genotype for elaboration in sampled(space, 50)}) >= 45

    def test_genotype_survives_json(self, space: SearchSpace) -> None:
        for elaboration in sampled(space, 20):
            assert Genotype.from_json(elaboration.genotype.to_json()) == elaboration.genotype

    def test_architecture_survives_json(self, space: SearchSpace) -> None:
        for elaboration in sampled(space, 20):
            assert Architecture.from_json(elaboration.architecture.to_json()) == elaboration.architecture

    def test_a_genotype_with_an_answer_missing_or_too_many_is_refused(self, space: SearchSpace) -> None:
        (elaboration,) = sampled(space, 1)
        values = elaboration.genotype.values
        with pytest.raises(UserError, match=values[-1][0]):
            space.replay(Genotype(values[:-1]))
        with pytest.raises(UserError, match="a_question_nobody_asks"):
            space.replay(Genotype((*values, ("a_question_nobody_asks", 1))))

    def test_a_mutation_changes_the_named_decision_and_keeps_what_is_still_asked(self, space: SearchSpace) -> None:
        rng = random.Random(1)
        for elaboration in sampled(space, 20):
            name, mutant = space.mutate(elaboration.genotype, rng=rng)
            before, after = dict(elaboration.genotype.values), dict(mutant.genotype.values)
            assert before[name] != after[name]
            domains = {decision.name: decision.domain for decision in mutant.decisions}
            for other, value in before.items():
                if other != name and other in domains and value in domains[other]:
                    assert after[other] == value
            assert space.replay(mutant.genotype) == mutant

    def test_neighbours_are_finite_many_architectures_that_differ_in_the_named_decision(
        self, space: SearchSpace
    ) -> None:
        for elaboration in sampled(space, 3):
            before = dict(elaboration.genotype.values)
            found = list(space.neighbours(elaboration.genotype))
            assert len({neighbour.genotype for _, neighbour in found}) == len(found) > 0
            for name, neighbour in found:
                assert dict(neighbour.genotype.values)[name] != before[name]
                assert space.replay(neighbour.genotype) == neighbour
            assert list(space.neighbours(elaboration.genotype)) == found

    def test_every_answer_lies_in_its_domain(self, space: SearchSpace) -> None:
        for elaboration in sampled(space, 20):
            assert all(decision.value in decision.domain for decision in elaboration.decisions)

    def test_count_agrees_with_the_chance_of_a_genotype(self, space: SearchSpace) -> None:
        # A random genotype has probability 1 / (product of its domains' sizes), so that product has the mean `count`.
        products = []
        for elaboration in sampled(space, 2_000):
            product = 1.0
            for decision in elaboration.decisions:
                product *= decision.domain.count
            products.append(product)
        mean = sum(products) / len(products)
        deviation = (sum((p - mean) ** 2 for p in products) / len(products)) ** 0.5
        assert abs(mean - space.count()) <= max(5 * deviation / len(products) ** 0.5, 1e-9 * mean)

    def test_modules_give_the_shapes_that_the_architecture_says(self, space: SearchSpace) -> None:
        for elaboration in sampled(space, 5):
            architecture = elaboration.architecture
            module = to_module(architecture).eval()
            with torch.no_grad():
                given = module(*(torch.randn(2, *shape) for shape in architecture.input_shapes))
            outputs = given if isinstance(given, tuple) else (given,)
            assert tuple(tuple(output.shape[1:]) for output in outputs) == architecture.output_shapes
            assert all(output.isfinite().all() for output in outputs)

    def test_weights_have_the_same_names_in_the_flattened_module(self, space: SearchSpace) -> None:
        for elaboration in sampled(space, 5):
            with torch.device("meta"):
                nested = to_module(elaboration.architecture)
                flat = to_module(elaboration.architecture.flatten())
            assert list(nested.state_dict()) == list(flat.state_dict())

    def test_questions_depend_on_earlier_answers_alone(self, space: SearchSpace) -> None:
        for elaboration in sampled(space, 10):
            recorder = Recorder(RandomChooser(rng=random.Random(2)))
            space.build(recorder)
            for one, other in zip(elaboration.decisions, recorder.decisions, strict=False):
                assert one.domain == other.domain
                if one.value != other.value:
                    break
