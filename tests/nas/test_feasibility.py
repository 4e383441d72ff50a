"""What must break a constraint is told from what did; nothing that keeps all of them is ever ruled out."""

from hypothesis import given
from hypothesis import strategies as st

from nas.controllers.feasibility import Feasibility
from nas.objectives import Constraint, parse_constraint

NAMES = ("params", "macs", "depth")
FIGURES = st.tuples(*(st.integers(0, 9) for _ in NAMES)).map(
    lambda numbers: dict(zip(NAMES, map(float, numbers), strict=True))
)
CONSTRAINTS = st.lists(
    st.builds(
        lambda name, sign, bound: parse_constraint(f"{name}{sign}{bound}", NAMES),
        st.sampled_from(NAMES),
        st.sampled_from(("<=", ">=", "<", ">")),
        st.integers(0, 9),
    ),
    max_size=3,
)


@given(CONSTRAINTS, st.lists(FIGURES, max_size=12), FIGURES)
def test_nothing_that_keeps_all_constraints_is_ruled_out(
    constraints: list[Constraint], seen: list[dict[str, float]], candidate: dict[str, float]
) -> None:
    feasibility = Feasibility()
    for figures in seen:
        kept = all(constraint.holds(figures) for constraint in constraints)
        (feasibility.admitted if kept else feasibility.rejected)(figures.items())
    if all(constraint.holds(candidate) for constraint in constraints):
        assert not feasibility.ruled_out(candidate.items())


def test_what_goes_further_than_a_rejected_one_is_ruled_out() -> None:
    feasibility = Feasibility()
    feasibility.admitted({"params": 10.0, "macs": 5.0}.items())
    feasibility.admitted({"params": 2.0, "macs": 9.0}.items())
    feasibility.rejected({"params": 20.0, "macs": 7.0}.items())
    assert feasibility.ruled_out({"params": 21.0, "macs": 1.0}.items())
    assert not feasibility.ruled_out({"params": 19.0, "macs": 100.0}.items())
    feasibility.rejected({"params": 15.0, "macs": 12.0}.items())
    assert feasibility.ruled_out({"params": 15.0, "macs": 13.0}.items())
    assert not feasibility.ruled_out({"params": 15.0, "macs": 11.0}.items()), "one of the two bounds may be kept"


def test_the_rejected_one_itself_is_ruled_out_when_nothing_was_admitted() -> None:
    feasibility = Feasibility()
    feasibility.rejected({"params": 20.0}.items())
    assert feasibility.ruled_out({"params": 20.0}.items())
    assert not feasibility.ruled_out({"params": 30.0}.items())
