"""Laws of layered layouts and of their columns, on random graphs and on small ones whose picture is known."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.drawing.columns import GUTTER, in_columns
from analysis.drawing.layered_layout import BOX_GAP, Layout, lay_out, spread
from tests.analysis.drawn_network import Point, Rectangle

Edges = tuple[tuple[int, int], ...]
Sizes = tuple[tuple[float, float], ...]
ROUNDING = 1e-6


@st.composite
def graphs(draw: st.DrawFn, *, most: int = 18) -> tuple[Sizes, Edges]:
    """Boxes of all sizes, each but the first with edges from some before it, also two from the same one."""
    count = draw(st.integers(1, most))
    lengths = st.floats(1, 300)
    sizes = tuple(draw(st.tuples(lengths, lengths)) for _ in range(count))
    edges = []
    for target in range(1, count):
        near = draw(st.integers(0, target - 1))
        sources = draw(st.lists(st.integers(near, target - 1), max_size=3))
        edges += [(source, target) for source in sources]
    return sizes, tuple(edges)


def chains(length: int) -> st.SearchStrategy[tuple[Sizes, Edges]]:
    """Boxes one behind the other."""
    sizes = st.lists(st.tuples(st.floats(30, 300), st.floats(10, 90)), min_size=3, max_size=length)
    return sizes.map(lambda boxes: (tuple(boxes), tuple(pairwise(range(len(boxes))))))


@settings(deadline=None)
@given(graphs())
def test_nothing_overlaps_and_no_edge_passes_through_a_box(graph: tuple[Sizes, Edges]) -> None:
    check(lay_out(*graph), *graph)


@settings(deadline=None)
@given(graphs())
def test_edges_run_down(graph: tuple[Sizes, Edges]) -> None:
    sizes, edges = graph
    layout = lay_out(sizes, edges)
    for source, target in edges:
        assert layout.corners[source][1] + sizes[source][1] < layout.corners[target][1]
    for route in layout.routes:
        assert all(before[1] <= after[1] + ROUNDING for before, after in pairwise(route))


@settings(deadline=None)
@given(graphs())
def test_boxes_of_a_layer_keep_their_distance(graph: tuple[Sizes, Edges]) -> None:
    sizes, edges = graph
    layout = lay_out(sizes, edges)
    for first, second in combinations(rectangles(layout), 2):
        if first.top < second.bottom and second.top < first.bottom:
            assert first.right + BOX_GAP <= second.left + ROUNDING or second.right + BOX_GAP <= first.left + ROUNDING


@settings(deadline=None)
@given(graphs(), st.integers(1, 6))
def test_columns_keep_the_laws(graph: tuple[Sizes, Edges], count: int) -> None:
    layout = lay_out(*graph)
    wrapped = in_columns(layout, count)
    check(wrapped, *graph)
    assert wrapped.sizes == layout.sizes
    assert [
        route[0][0] - corner(wrapped, source)[0] for route, (source, _) in zip(wrapped.routes, graph[1], strict=True)
    ] == (
        pytest.approx(
            [
                route[0][0] - corner(layout, source)[0]
                for route, (source, _) in zip(layout.routes, graph[1], strict=True)
            ]
        )
    )


@settings(deadline=None)
@given(chains(20))
def test_a_chain_is_one_straight_line(graph: tuple[Sizes, Edges]) -> None:
    layout = lay_out(*graph)
    middles = [left + width / 2 for (left, _), (width, _) in zip(layout.corners, layout.sizes, strict=True)]
    assert middles == pytest.approx([middles[0]] * len(middles))
    for route in layout.routes:
        assert [x for x, _ in route] == pytest.approx([middles[0]] * len(route))
    assert layout.width == pytest.approx(max(width for width, _ in graph[0]))


@settings(deadline=None)
@given(chains(20), st.integers(2, 6))
def test_a_chain_is_broken_into_columns_of_like_heights(graph: tuple[Sizes, Edges], count: int) -> None:
    layout = lay_out(*graph)
    wrapped = in_columns(layout, count)
    tallest = max(height for _, height in graph[0])
    # The first and the last box stay with their neighbours, so a column may be higher by two boxes than the others.
    assert wrapped.height <= layout.height / count + 3 * (tallest + GUTTER) + GUTTER
    middles = sorted(left + width / 2 for (left, _), (width, _) in zip(wrapped.corners, wrapped.sizes, strict=True))
    assert 1 + sum(after - before > 1 for before, after in pairwise(middles)) <= count


def test_one_column_is_the_layout_itself() -> None:
    layout = lay_out(((10.0, 10.0),) * 5, tuple(pairwise(range(5))))
    assert in_columns(layout, 1) == layout


@settings(deadline=None)
@given(st.integers(3, 9), st.floats(40, 200))
def test_a_shortcut_goes_around_its_chain(length: int, width: float) -> None:
    sizes = ((width, 20.0),) * length
    edges = (*pairwise(range(length)), (0, length - 1))
    layout = lay_out(sizes, edges)
    left = layout.corners[0][0]
    assert [x for x, _ in layout.corners] == pytest.approx([left] * length)
    *straight, shortcut = layout.routes
    assert all(max(x for x, _ in route) - min(x for x, _ in route) < 0.01 for route in straight)
    (aside,) = {x for x, y in shortcut if layout.corners[1][1] <= y <= layout.corners[-2][1] + 20}
    assert aside < left or aside > left + width


def test_chains_side_by_side_do_not_cross() -> None:
    # Four chains whose boxes are given in ever other orders.
    sizes = ((50.0, 20.0),) * 14
    rows = [(1, 2, 3, 4), (6, 5, 8, 7), (12, 11, 9, 10)]
    edges = [(0, box) for box in rows[0]] + [(box, 13) for box in rows[2]]
    edges += [(rows[0][place], rows[1][3 - place]) for place in range(4)]
    edges += [(rows[1][place], rows[2][place]) for place in range(4)]
    layout = lay_out(sizes, tuple(edges))
    assert crossings(layout) == 0


def test_a_complete_bipartite_graph_crosses_as_it_must() -> None:
    sizes = ((40.0, 20.0),) * 5
    layout = lay_out(sizes, tuple((source, target) for source in (0, 1) for target in (2, 3, 4)))
    assert crossings(layout) == 3


def test_the_sum_of_branches_stands_below_the_middle_one() -> None:
    sizes = ((60.0, 20.0),) * 5
    layout = lay_out(sizes, ((0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)))
    assert layout.corners[0][0] == pytest.approx(layout.corners[2][0])
    assert layout.corners[4][0] == pytest.approx(layout.corners[2][0])


def test_cuts_are_where_one_value_goes_on() -> None:
    # A chain of two, a diamond, a chain of two: 0 1 (2 3) 4 5 6.
    sizes = ((60.0, 20.0),) * 7
    edges = ((0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (4, 5), (5, 6))
    layout = lay_out(sizes, edges)
    crossing = [{edges[edge] for edge, _ in cut.crossing} for cut in layout.cuts]
    assert crossing == [{(1, 2), (1, 3)}, {(2, 4), (3, 4)}, {(4, 5)}]
    assert all(cut.top < cut.y < cut.bottom for cut in layout.cuts)


def test_nothing_is_laid_out_as_nothing() -> None:
    assert lay_out((), ()) == Layout(0.0, 0.0, (), (), ())


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.1, 100)), min_size=1, max_size=8), st.floats(0, 20))
def test_spreading_is_the_least_squares_of_all_that_keep_the_gap(wanted: list[tuple[float, float]], gap: float) -> None:
    places = spread(wanted, gap)
    assert all(after - before >= gap - ROUNDING for before, after in pairwise(places))
    # The optimum of a convex problem: moving any run of places that touch, up to where it parts, helps nothing.
    for start in range(len(places)):
        for stop in range(start + 1, len(places) + 1):
            for step in (-0.01, 0.01):
                moved = [place + step if start <= index < stop else place for index, place in enumerate(places)]
                if all(after - before >= gap - ROUNDING for before, after in pairwise(moved)):
                    assert badness(moved, wanted) >= badness(places, wanted) - 1e-3


def badness(places: list[float], wanted: list[tuple[float, float]]) -> float:
    return sum(weight * (place - aim) ** 2 for place, (aim, weight) in zip(places, wanted, strict=True))


def check(layout: Layout, sizes: Sizes, edges: Edges) -> None:
    """No overlap, no edge through a box, edges from the foot of their source to the head of their target, all inside."""
    boxes = rectangles(layout)
    for first, second in combinations(boxes, 2):
        assert not first.overlaps(second, ROUNDING)
    page = Rectangle(0, 0, layout.width, layout.height)
    for box in boxes:
        assert page.contains(box, ROUNDING)
    for (source, target), route in zip(edges, layout.routes, strict=True):
        assert route[0][1] == pytest.approx(boxes[source].bottom)
        assert route[-1][1] == pytest.approx(boxes[target].top)
        assert boxes[source].left < route[0][0] < boxes[source].right
        assert boxes[target].left < route[-1][0] < boxes[target].right
        for first, second in pairwise(route):
            # A bend stays within the rectangle between its ends.
            reach = Rectangle(*map(min, first, second), *map(max, first, second))
            assert page.contains(reach, ROUNDING)
            assert not any(reach.overlaps(box, ROUNDING) for box in boxes), (source, target, reach)


def rectangles(layout: Layout) -> list[Rectangle]:
    return [
        Rectangle(left, top, left + width, top + height)
        for (left, top), (width, height) in zip(layout.corners, layout.sizes, strict=True)
    ]


def corner(layout: Layout, box: int) -> Point:
    return layout.corners[box]


def crossings(layout: Layout) -> int:
    """Pairs of edges that change sides in one gap between layers."""
    count = 0
    for first, second in combinations(layout.routes, 2):
        for (start, end), (other_start, other_end) in ((a, b) for a in pairwise(first) for b in pairwise(second)):
            if (start[1], end[1]) == (other_start[1], other_end[1]):
                count += (start[0] - other_start[0]) * (end[0] - other_end[0]) < 0
    return count
