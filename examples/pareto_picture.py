"""Draws the trials of a search and their Pareto front as an SVG, from the results alone.

python examples/pareto_picture.py digits --db demo/nas.db --out pareto.svg
"""

import argparse
import math
from pathlib import Path

import nas

WIDTH, HEIGHT, MARGIN = 720, 400, 60


def picture(result: nas.SearchResult) -> str:
    """The SVG: MACs to the right (logarithmic), validation error upwards (logarithmic), the front as a line."""
    front = result.pareto("val_accuracy", "macs")
    points = {trial.number: (trial.values["macs"], 1 - trial.values["val_accuracy"]) for trial in result.complete}
    floor = min(error for _, error in points.values() if error > 0) / 2
    places = {number: (math.log10(macs), math.log10(max(error, floor))) for number, (macs, error) in points.items()}
    left, right = min(x for x, _ in places.values()), max(x for x, _ in places.values())
    low, high = min(y for _, y in places.values()), max(y for _, y in places.values())

    def at(x: float, y: float) -> tuple[float, float]:
        across = MARGIN + (x - left) / ((right - left) or 1) * (WIDTH - 2 * MARGIN)
        down = HEIGHT - MARGIN - (y - low) / ((high - low) or 1) * (HEIGHT - 2 * MARGIN)
        return round(across, 1), round(down, 1)

    dots = [f'<circle cx="{x}" cy="{y}" r="4" fill="#8aa"/>' for x, y in (at(*place) for place in places.values())]
    corners = sorted(at(*places[found.trial.number]) for found in front)
    line = " ".join(f"{x},{y}" for x, y in corners)
    labels = [
        f'<text x="{x + 8}" y="{y - 8}" font-size="12">{found.values["val_accuracy"]:.2%}, '
        f"{found.values['macs'] / 1e6:.2f} M</text>"
        for found, (x, y) in ((found, at(*places[found.trial.number])) for found in front)
    ]
    rings = [f'<circle cx="{x}" cy="{y}" r="5" fill="#c33"/>' for x, y in corners]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *dots,
            f'<polyline points="{line}" fill="none" stroke="#c33" stroke-width="1.5"/>',
            *rings,
            *labels,
            f'<text x="{WIDTH / 2}" y="{HEIGHT - 16}" text-anchor="middle" font-size="14">MACs (logarithmic)</text>',
            f'<text x="20" y="{HEIGHT / 2}" text-anchor="middle" font-size="14" '
            f'transform="rotate(-90 20 {HEIGHT / 2})">validation error (logarithmic)</text>',
            f'<text x="{WIDTH / 2}" y="28" text-anchor="middle" font-size="15">'
            f"{len(points)} trials on {result.search.data}, the Pareto front in red</text>",
            "</svg>",
            "",
        ]
    )


def main() -> None:
    """Reads the results and writes the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--db", default="nas.db")
    parser.add_argument("--out", type=Path, default=Path("pareto.svg"))
    arguments = parser.parse_args()
    arguments.out.write_text(picture(nas.results(arguments.name, db=arguments.db)), encoding="utf-8")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
