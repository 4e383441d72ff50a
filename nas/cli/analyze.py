"""`nas analyze`: what networks cost, hold and see, before anything is trained."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.output import (
    DEFAULT_DATABASE,
    DatabaseOption,
    JsonFlag,
    make_table,
    print_wide,
    stderr,
    stdout,
    write_json,
)
from search_spaces.errors import UserError

if TYPE_CHECKING:
    import torch

    from search_spaces.architecture import Architecture


def analyze(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="A network's name (see: nas networks), an architecture's key or .json file, SEARCH:best, "
            "or a torch model: package.module:callable or ./file.py:callable.",
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="3x224x224",
            help="The shape of an input, without the batch; once for each input of the network. A torch model may take "
            "whole numbers: 128:int64 (an input that an embedding reads is taken so without).",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="How many inputs at once.")] = 1,
    dtype: Annotated[str, typer.Option(help="float32, float64, float16 or bfloat16.")] = "float32",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter of a network: classes=10.")
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Show every layer.")] = False,
    convention: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Count as this tool does: macs, flops, fvcore, torchinfo, ptflops, ptflops-aten or thop; torch models: macs or flops.",
        ),
    ] = None,
    optimizer: Annotated[str, typer.Option(help="sgd, momentum or adam: for the memory of training.")] = "momentum",
    mixed_precision: Annotated[bool, typer.Option("--mixed-precision", help="Train in mixed precision.")] = False,
    latency: Annotated[
        str | None, typer.Option(metavar="cpu|cuda", help="Measure the latency, and estimate it by the roofline.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Estimate the latency on this device by the roofline.")
    ] = None,
    draw: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw the graph.")] = None,
    unfold: Annotated[bool, typer.Option("--unfold", help="Draw cells with what is in them.")] = False,
    convolutionalize: Annotated[
        bool, typer.Option("--convolutionalize", help="Turn dense heads into convolutions first.")
    ] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Show several networks side by side.")] = False,
    db: DatabaseOption = DEFAULT_DATABASE,
    as_json: JsonFlag = False,
) -> None:
    """Analyse networks: parameters, MACs, memory, receptive field, latency."""
    from nas.cli.report_tables import compare_table, layer_table, summary_rows
    from nas.study import Question, study
    from nas.targets import find, parse_input, parse_parameters

    _refuse_what_would_be_ignored(
        targets, compare=compare, layers=layers, draw=draw, unfold=unfold, latency=latency, profile=profile
    )
    parsed = [parse_input(text) for text in inputs or ()]
    question = Question(
        input_shapes=tuple(shape for shape, _ in parsed),
        input_dtypes=tuple(number_type for _, number_type in parsed),
        batch=batch,
        dtype=dtype,
        convention=convention,
        optimizer=optimizer,
        mixed_precision=mixed_precision,
        latency=latency,
        profile=profile,
    )
    parameters = parse_parameters(settings or ())
    studies = {}
    # What a torch model prints is no data of ours.
    with redirect_stdout(sys.stderr):
        for target in dict.fromkeys(targets):
            network = find(target, db=db, parameters=parameters)
            if convolutionalize:
                network = _graph_of(network, target, "--convolutionalize").convolutionalized()
            studies[target] = study(network, question)
    (target, first), *_ = studies.items()
    if draw is not None:
        _draw(_graph_of(first.network, target, "--draw"), draw, title=target, unfold=unfold)
    if as_json:
        documents = [
            {"target": target, "convolutionalized": convolutionalize, **each.to_dict()}
            for target, each in studies.items()
        ]
        write_json({"schema": 1, **({"networks": documents} if compare else documents[0])})
    elif compare:
        stdout().print(compare_table(studies))
    else:
        title = f"{target}: input {', '.join(first.inputs)}, batch {batch}, {dtype}"
        stdout().print(make_table(title, ("figure", "value", ""), summary_rows(first)))
        if layers:
            stdout().print()
            print_wide(layer_table(first.report.layers, counts=first.counts, convention=convention or ""))


def _refuse_what_would_be_ignored(
    targets: list[str],
    *,
    compare: bool,
    layers: bool,
    draw: Path | None,
    unfold: bool,
    latency: str | None,
    profile: str | None,
) -> None:
    if compare and (layers or draw is not None):
        raise UserError("--compare shows totals side by side: leave --layers and --draw out, or analyse one network")
    if len(targets) > 1 and not compare:
        raise UserError(f"{len(targets)} targets: add --compare to see them side by side, or give one")
    if latency is not None and profile is not None:
        raise UserError("--latency measures this machine, --profile estimates for another: ask for one of them")
    if unfold and draw is None:
        raise UserError("--unfold is for drawings: add --draw FILE.svg, or leave it out")
    if draw is not None and draw.suffix.lower() != ".svg":
        raise UserError(f"--draw writes SVG: name a file like {draw.stem or 'network'}.svg, not {str(draw)!r}")


def _graph_of(network: "Architecture | torch.nn.Module", target: str, option: str) -> "Architecture":
    from search_spaces.architecture import Architecture

    if not isinstance(network, Architecture):
        raise UserError(f"{option} needs the graph of an architecture, and {target!r} is a torch model; leave it out")
    return network


def _draw(architecture: "Architecture", path: Path, *, title: str, unfold: bool) -> None:
    from analysis.drawing import draw

    picture = draw(architecture, unfold=unfold, title=title)
    try:
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--draw: cannot write {str(path)!r}: {error.strerror}; choose another place") from None
    stderr().print(f"drawn: {path}", markup=False, soft_wrap=True)
