"""What the tools say that classic networks cost, as a table in Markdown: the MACs, and each tool's figure over them.

    python benchmarks/conventions.py [NETWORK ...]

The last column is how far the largest figure of a row is above the smallest. The figures are worked out from the graph
by `analysis.conventions`; that they are the tools' own is tested in `tests/analysis/test_conventions.py`.
"""

import argparse

from analysis.conventions import CONVENTIONS, count
from search_spaces import zoo

NETWORKS = (
    "lenet5",
    "alexnet",
    "vgg16",
    "googlenet",
    "resnet50",
    "resnet152",
    "densenet121",
    "inception_v3",
    "mobilenet_v2",
    "efficientnet_b0",
)


def main() -> None:
    """Prints one row for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    tools = [convention for convention in CONVENTIONS if convention not in ("macs", "flops")]
    print(f"| network | MACs | {' | '.join(tools)} | apart |")
    print("|---|---:" + "|---:" * (len(tools) + 1) + "|")
    for name in parser.parse_args().networks:
        network = zoo.load(name)
        macs = count(network, "macs")
        figures = [count(network, tool) for tool in tools]
        ratios = " | ".join(f"{figure / macs:.4f}" for figure in figures)
        print(f"| `{name}` | {macs:,} | {ratios} | {max(figures) / min(macs, *figures) - 1:.2%} |")


if __name__ == "__main__":
    main()
