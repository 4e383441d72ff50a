"""`nas spaces` and `nas controllers`: what there is to choose from."""

from collections.abc import Mapping

from nas.cli.output import JsonFlag, make_table, stdout, write_json


def spaces(as_json: JsonFlag = False) -> None:
    """List the search spaces."""
    import search_spaces

    _show("spaces", search_spaces.descriptions(), as_json=as_json)


def controllers(as_json: JsonFlag = False) -> None:
    """List the controllers."""
    from nas.controllers import registry

    _show("controllers", registry.descriptions(), as_json=as_json)


def _show(what: str, descriptions: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        rows = [{"name": name, "description": text} for name, text in descriptions.items()]
        write_json({"schema": 1, what: rows})
    else:
        stdout().print(make_table(what.capitalize(), ("name", "description"), list(descriptions.items())))
