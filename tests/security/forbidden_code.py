"""Finds in the syntax of a source file what could run code out of data: unpickling, evaluating text, shells, imports by name."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "jsonpickle", "joblib", "shelve", "marshal", "runpy"}
"""Modules that have no place in a program that reads other people's files; whatever is in them counts too."""

BUILT_IN = {"eval", "exec", "compile", "__import__"}

CALLS = (
    {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn"}
    | {"torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"}
    | {"yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.Loader", "yaml.UnsafeLoader"}
    | {"importlib.import_module", "importlib.reload", "builtins.eval", "builtins.exec", "builtins.compile"}
    | {"pandas.eval", "pandas.read_pickle", "sqlalchemy.PickleType"}
)
METHODS = {"exec_module", "load_module", "read_pickle", "to_pickle", "enable_load_extension"}
"""Names that are called so on whatever object."""

SAFE_WITH = {
    "torch.load": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
    "numpy.save": ("allow_pickle", False),
}
"""What is allowed with this keyword alone."""


class Finding(NamedTuple):
    """What was found, as `pickle` or `torch.load`, and in which line."""

    what: str
    line: int


def forbidden(source: str) -> Iterator[Finding]:
    """Everything in a file's source that could run code out of data, under whatever name it was imported."""
    tree = ast.parse(source)
    names = _imported_names(tree)
    for node in ast.walk(tree):
        for what in _found(node, names):
            yield Finding(what, getattr(node, "lineno", 0))


def _imported_names(tree: ast.AST) -> dict[str, str]:
    """The full names behind what the imports of a file, wherever they stand, make known."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known = alias.asname or alias.name.partition(".")[0]
                names[known] = alias.name if alias.asname else known
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _full_name(node: ast.expr, names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        inner = _full_name(node.value, names)
        return None if inner is None else f"{inner}.{node.attr}"
    return None


def _found(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    match node:
        case ast.Import(names=aliases):
            yield from (alias.name for alias in aliases if MODULES & set(alias.name.split(".")))
        case ast.ImportFrom(module=str(module), names=aliases, level=0):
            for alias in aliases:
                if MODULES & {*module.split("."), alias.name} or f"{module}.{alias.name}" in CALLS:
                    yield f"{module}.{alias.name}"
        case ast.Name(id=name, ctx=ast.Load()) if name in BUILT_IN and name not in names:
            # Also where it is not called: it could be called by another name then.
            yield name
        case ast.Name(ctx=ast.Load()) | ast.Attribute(ctx=ast.Load()):
            full = _full_name(node, names)
            if full in CALLS or (isinstance(node, ast.Attribute) and node.attr in METHODS):
                yield full or f".{getattr(node, 'attr', '')}"
        case ast.Call():
            yield from _unsafe_call(node, names)
        case _:
            pass


def _unsafe_call(call: ast.Call, names: dict[str, str]) -> Iterator[str]:
    full = _full_name(call.func, names)
    given = {each.arg: each.value for each in call.keywords}
    if full in SAFE_WITH:
        keyword, wanted = SAFE_WITH[full]
        value = given.get(keyword)
        if not (isinstance(value, ast.Constant) and value.value is wanted):
            yield full
    shell = given.get("shell")
    if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
        yield "shell=True"
    # An entry point imports what it names.
    if isinstance(call.func, ast.Attribute) and call.func.attr == "load" and not call.args and not call.keywords:
        receiver = _full_name(call.func.value, names) or ""
        if "reference" in receiver or "entry" in receiver or "point" in receiver:
            yield "EntryPoint.load"
