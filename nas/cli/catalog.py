"""`nas spaces`, `nas controllers` and `nas networks`: what there is to choose from."""

import json
from collections.abc import Mapping
from typing import Any

from nas.cli.output import JsonFlag, make_table, shape_text, stdout, write_json


def spaces(as_json: JsonFlag = False) -> None:
    """List the search spaces."""
    import search_spaces

    _show("spaces", search_spaces.descriptions(), as_json=as_json)


def controllers(as_json: JsonFlag = False) -> None:
    """List the controllers."""
    from nas.controllers import registry

    _show("controllers", registry.descriptions(), as_json=as_json)


def networks(as_json: JsonFlag = False) -> None:
    """List the classic networks, with their size and the parameters that `nas analyze --set` takes."""
    from analysis import analyze
    from search_spaces import zoo

    reports = {name: analyze(zoo.load(name)) for name in zoo.names()}
    settings = {name: _settings(name) for name in reports}
    shapes = {name: report.architecture.input_shapes[0] for name, report in reports.items()}
    if as_json:
        rows = [
            {
                "name": name,
                "input_shape": list(shapes[name]),
                "params": report.params,
                "macs": report.macs,
                "parameters": settings[name],
            }
            for name, report in reports.items()
        ]
        write_json({"schema": 1, "networks": rows})
        return
    table = [
        (name, shape_text(shapes[name]), report.params, report.macs, _settings_text(settings[name]))
        for name, report in reports.items()
    ]
    stdout().print(make_table("Networks", ("name", "input", "params", "macs", "--set"), table))


def _settings(network: str) -> dict[str, Any]:
    """What `--set` takes, with its defaults; the shape of the input has an option of its own."""
    from search_spaces import zoo

    return {name: value for name, value in zoo.defaults(network).items() if name != "input_shape"}


def _settings_text(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={json.dumps(value)}" for name, value in settings.items())


def _show(what: str, descriptions: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        rows = [{"name": name, "description": text} for name, text in descriptions.items()]
        write_json({"schema": 1, what: rows})
    else:
        stdout().print(make_table(what.capitalize(), ("name", "description"), list(descriptions.items())))
