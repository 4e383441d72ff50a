"""Lays out Python source as `ruff format` would: expressions that break over lines when they are long, and docstrings.

What is broken ends in a comma, which makes a formatter keep it broken; so nothing here needs to know how a formatter
weighs one way to break against another.
"""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LINE_LENGTH = 120
INDENT = "    "


@dataclass(frozen=True, slots=True)
class Bracketed:
    """Parts between brackets: a call (`opening` is `function(`) or a tuple of two or more."""

    opening: str
    parts: "tuple[Expression, ...]"
    closing: str = ")"

    def __str__(self) -> str:
        return f"{self.opening}{', '.join(map(str, self.parts))}{self.closing}"


@dataclass(frozen=True, slots=True)
class Sum:
    """Terms joined by plus signs, or by another `sign`."""

    terms: tuple[str, ...]
    sign: str = "+"

    def __str__(self) -> str:
        return f" {self.sign} ".join(self.terms)


Expression = str | Bracketed | Sum


def call(function: str, *arguments: Expression) -> Bracketed:
    """The call of `function`; a keyword argument is a text such as `bias=False`."""
    return Bracketed(f"{function}(", arguments)


def functions_called(expression: Expression) -> Iterator[str]:
    """The names of all functions in an expression, as written."""
    if isinstance(expression, Bracketed):
        yield expression.opening.removesuffix("(")
        for part in expression.parts:
            yield from functions_called(part)


def statement(prefix: str, expression: Expression, *, depth: int, suffix: str = "", comment: str = "") -> list[str]:
    """The lines of `prefix`, an expression and `suffix`, indented `depth` times; a comment that does not fit goes above."""
    indent = INDENT * depth
    line = f"{indent}{prefix}{expression}{suffix}"
    if comment and len(line) + len(comment) + 4 <= LINE_LENGTH:
        return [f"{line}  # {comment}"]
    above = [f"{indent}# {comment}"] if comment else []
    if len(line) <= LINE_LENGTH or isinstance(expression, str):
        return [*above, line]
    return [*above, *_broken(prefix, expression, suffix, indent)]


def _broken(prefix: str, expression: Bracketed | Sum, suffix: str, indent: str) -> list[str]:
    inner = indent + INDENT
    match expression:
        case Sum() if len(inner) + len(str(expression)) <= LINE_LENGTH:
            return [f"{indent}{prefix}(", f"{inner}{expression}", f"{indent}){suffix}"]
        case Sum((first, *others), sign):
            added = (f"{inner}{sign} {term}" for term in others)
            return [f"{indent}{prefix}(", f"{inner}{first}", *added, f"{indent}){suffix}"]
        case Bracketed(opening, parts, closing):
            lines = [f"{indent}{prefix}{opening}"]
            for part in parts:
                if isinstance(part, str) or len(inner) + len(str(part)) + 1 <= LINE_LENGTH:
                    lines.append(f"{inner}{part},")
                else:
                    lines.extend(_broken("", part, ",", inner))
            return [*lines, f"{indent}{closing}{suffix}"]
    raise AssertionError(expression)


def docstring(summary: str, notes: Iterable[str] = (), *, depth: int) -> list[str]:
    """The lines of a docstring that shows these texts, whatever is in them, each note on a line of its own."""
    indent = INDENT * depth
    first, *rest = _wrapped(summary, indent)
    below = [line for note in notes for line in _wrapped(note, indent)]
    if not rest and not below:
        return [f'{indent}"""{first}"""']
    blank = [""] if below else []
    return [
        f'{indent}"""{first}',
        *(indent + line for line in rest),
        *blank,
        *(indent + line for line in below),
        f'{indent}"""',
    ]


def _wrapped(text: str, indent: str) -> list[str]:
    """`text` on lines that fit, as the inside of a docstring."""
    line = " ".join(text.split())
    line = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in line)
    # Escapes at most double a text, and a sign of another script may be two columns wide.
    plain = line.isascii() and "\\" not in line and '"' not in line
    width = (LINE_LENGTH - len(indent) - 7) // (1 if plain else 2)
    return [part.replace("\\", "\\\\").replace('"', '\\"') for part in textwrap.wrap(line, width)]
