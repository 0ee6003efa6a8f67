"""Equation text to a checked syntax tree: what a stranger's text may contain, and how much of it.

    equation  ::=  element = expression [where condition, ...]

The characters, words and limits are checked on tokens, before Python's parser sees the text, because the parser itself
can be hurt: deep nesting and long runs of signs exhaust the C stack, long integers take quadratic time. Nothing is ever
evaluated; what comes out is an `ast` tree whose nodes `reader` accepts one by one.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from symbp.errors import SpecError

#: Characters, tokens, open brackets, powers, signs in a row and digits of a number that one equation may have.
MAX_LENGTH = 10_000
MAX_TOKENS = 4_000
MAX_DEPTH = 50
MAX_POWERS = 200
MAX_SIGNS = 8
MAX_DIGITS = 40
MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text begins: its file, line and column (from 1). Without a column, only the line is told."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])

    def moved(self, text: str, offset: int) -> Place:
        """The place of ``text[offset]`` when the text begins here."""
        if not self.line:
            return self
        line_start = text.rfind("\n", 0, offset) + 1
        if line_start == 0:
            return replace(self, column=self.column + offset if self.column else 0)
        lines = text.count("\n", 0, offset)
        return Place(self.file, self.line + lines, offset - line_start + 1 if self.column else 0)


@dataclass(frozen=True, slots=True)
class Token:
    """One word, number or sign, and where it begins in the text."""

    kind: str  # "name", "number", "sign" or "newline"
    text: str
    start: int

    @property
    def stop(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Source:
    """A text and its place, so that an offset can be told as file, line and column."""

    text: str
    place: Place

    def error(self, offset: int, message: str, remedy: str | None = None) -> SpecError:
        return SpecError(message, place=str(self.place.moved(self.text, offset)), remedy=remedy)


@dataclass(frozen=True, slots=True)
class Piece:
    """One side of an equation, or one condition: its tree, and where it lies in the text."""

    source: Source
    start: int
    tree: ast.expr

    def offset(self, node: ast.AST) -> int:
        # The tree was parsed with a bracket before the piece.
        return self.start + max(getattr(node, "col_offset", 1) - 1, 0)

    def error(self, node: ast.AST, message: str, remedy: str | None = None) -> SpecError:
        return self.source.error(self.offset(node), message, remedy)

    def text_of(self, node: ast.AST) -> str:
        """The node as the user wrote it."""
        return self.text_between(node, node)

    def text_between(self, first: ast.AST, last: ast.AST) -> str:
        stop = self.start + getattr(last, "end_col_offset", 1) - 1
        return shorten(" ".join(self.source.text[self.offset(first) : stop].split()))


@dataclass(frozen=True, slots=True)
class EquationTree:
    """``left = right where guards`` as syntax."""

    left: Piece
    right: Piece
    guards: tuple[Piece, ...]


_TOKEN = re.compile(
    r"(?P<space>[ \t\r]+|\#[^\n]*)"
    r"|(?P<newline>\n)"
    r"|(?P<number>(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>\*\*|//|<=|>=|==|!=|[-+*/%<>=(),\[\]])"
)
_CLOSING = {"(": ")", "[": "]"}

#: What a character that no equation contains was probably meant for.
_STRAY = {
    "'": ("text in quotes", "an equation contains names, numbers and operators only"),
    '"': ("text in quotes", "an equation contains names, numbers and operators only"),
    "{": ("'{'", "group with ( )"),
    "}": ("'}'", "group with ( )"),
    ".": ("'.'", "write names without a dot; a decimal point stands between digits"),
    ":": ("':'", "slices do not exist here: name every index, as in x[b, j], and sum over it"),
    ";": ("';'", "write one equation per line"),
    "^": ("'^'", "a power is written **"),
    "@": ("'@'", "write the product with its indices: sum(x[b, j]*W[j, k], j)"),
    "&": ("'&'", "separate conditions with commas"),
    "|": ("'|'", "use select(condition, a, b)"),
    "!": ("'!'", "use !=, or the opposite condition"),
    "~": ("'~'", "use the opposite condition"),
    "\\": ("a backslash", "a line goes on inside brackets by itself"),
}
_KEYWORDS = {
    "if": "use select(condition, a, b)",
    "else": "use select(condition, a, b)",
    "and": "separate conditions with commas",
    "or": "use select(condition, a, b)",
    "not": "use the opposite condition",
    "for": "use sum(..., index)",
    "in": "use conditions: 0 <= i, i < n",
}


def parse_equation(source: Source) -> EquationTree:
    """Split and parse ``left = right [where condition, ...]``.

    Raises SpecError with the place of the first thing that is not understood.
    """
    tokens = read_tokens(source)
    if not tokens:
        raise source.error(0, "the equation is empty", "write, for example, z[b, k] = x[b, k] + c[k]")
    where = _first_word(tokens, "where")
    sides = _split(tokens[:where], "=")
    if len(sides) != 2:
        at = tokens[len(sides[0]) + len(sides[1]) + 1].start if len(sides) > 2 else tokens[0].start
        found = "no '='" if len(sides) == 1 else f"{len(sides) - 1} of them"
        raise source.error(at, f"an equation has one '=', found {found}", "to compare, use ==")
    left, right = sides
    sign = tokens[len(left)]
    if left and left[-1].text in tuple("+-*/%") and left[-1].stop == sign.start:
        raise source.error(left[-1].start, f"'{left[-1].text}=' is not understood", "an equation defines: use =")
    if not left:
        raise source.error(sign.start, "the left side of the equation is empty", "name what it defines: z[b, k] = ..")
    if not right:
        raise source.error(sign.stop, "the right side of the equation is empty")
    guards: list[Piece] = []
    if where < len(tokens):
        for part in _split(tokens[where + 1 :], ","):
            if not part:
                raise source.error(tokens[where].start, "a condition is missing after 'where'", "where i >= j, i < 5")
            stray = next((token for _, token, depth in _depths(part) if depth == 0 and token.text == "="), None)
            if stray:
                raise source.error(stray.start, "'=' in a condition", "to compare, use ==")
            guards.append(_parse(source, part))
    return EquationTree(_parse(source, left), _parse(source, right), tuple(guards))


def parse_expression(source: Source) -> Piece:
    """Parse one expression: the element ``z[b, k]`` on a left side, or the formula of a loss."""
    tokens = read_tokens(source)
    if not tokens:
        raise source.error(0, "the expression is empty")
    where = _first_word(tokens, "where")
    sides = _split(tokens, "=")
    if where < len(tokens) or len(sides) > 1:
        at = tokens[where].start if where < len(tokens) else tokens[len(sides[0])].start
        raise source.error(at, "expected one expression, found an equation")
    return _parse(source, tokens)


def is_equation(source: Source) -> bool:
    """True if there is an ``=`` outside brackets, so that it is more than an expression."""
    return any(depth == 0 and token.text == "=" for _, token, depth in _depths(read_tokens(source)))


def split_equations(source: Source) -> Iterator[Source]:
    """One source per equation of a text that has one per line; ``#`` starts a comment.

    A line goes on where a bracket is open, and where the next line begins with ``where``, ``=`` or an operator.
    """
    lines: list[list[Token]] = [[]]
    depth = 0
    for token in _tokens(source):
        if token.kind == "newline":
            if depth == 0:
                lines.append([])
            continue
        depth += (token.text in _CLOSING) - (token.text in _CLOSING.values())
        depth = max(depth, 0)
        lines[-1].append(token)
    equations: list[list[Token]] = []
    for line in filter(None, lines):
        if equations and (line[0].text == "where" or (line[0].kind == "sign" and line[0].text not in _CLOSING)):
            equations[-1].extend(line)
        else:
            equations.append(line)
    for equation in equations:
        start, stop = equation[0].start, equation[-1].stop
        yield Source(source.text[start:stop], source.place.moved(source.text, start))


def read_tokens(source: Source) -> list[Token]:
    """The tokens of one equation, after every check that can be made without its structure."""
    if len(source.text) > MAX_LENGTH:
        raise source.error(
            0, f"an equation has at most {MAX_LENGTH:,} characters, found {len(source.text):,}", "split it in several"
        )
    tokens = [token for token in _tokens(source) if token.kind != "newline"]
    if len(tokens) > MAX_TOKENS:
        raise source.error(
            tokens[MAX_TOKENS].start,
            f"an equation has at most {MAX_TOKENS:,} words and signs, found {len(tokens):,}",
            "split it in several",
        )
    _check_brackets(source, tokens)
    _check_order(source, tokens)
    return tokens


def _tokens(source: Source) -> Iterator[Token]:
    text, position = source.text, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _stray(source, position)
        kind, found = str(match.lastgroup), match.group()
        if kind == "number":
            _check_number(source, found, position)
        elif kind == "name":
            _check_word(source, found, position)
        if kind != "space":
            yield Token(kind, found, position)
        position = match.end()


def _stray(source: Source, position: int) -> SpecError:
    found = source.text[position]
    if found == ":" and source.text[position : position + 2] == ":=":
        return source.error(position, "':=' is not understood", "an equation defines: use =")
    if found in _STRAY:
        shown, remedy = _STRAY[found]
        return source.error(position, f"{shown} is not understood", remedy)
    return source.error(
        position, f"the character {found!a} is not understood", "use ASCII letters, digits and operators"
    )


def _check_number(source: Source, number: str, start: int) -> None:
    after = source.text[start + len(number) : start + len(number) + 1]
    if after in ("j", "J"):
        raise source.error(start, f"'{shorten(number)}{after}' is a complex number", "models are real")
    if after.isalpha() or after == "_" or "_" in number:
        word = number + (re.match(r"\w*", source.text[start + len(number) :]) or [""])[0]
        raise source.error(start, f"'{shorten(word)}' is neither a number nor a name", "write numbers in decimal")
    digits = re.sub(r"\D", "", number)
    if len(digits) > MAX_DIGITS:
        raise source.error(start, f"a number has at most {MAX_DIGITS} digits, found {len(digits):,}")


def _check_word(source: Source, word: str, start: int) -> None:
    after = source.text[start + len(word) : start + len(word) + 1]
    if after in ("'", '"'):
        raise source.error(start, "text in quotes is not understood", _STRAY["'"][1])
    if keyword.iskeyword(word):
        raise source.error(
            start, f"'{word}' is a Python keyword and not understood here", _KEYWORDS.get(word, "choose another name")
        )
    if len(word) > MAX_NAME:
        raise source.error(start, f"a name has at most {MAX_NAME} characters, found {len(word):,}")


def _check_brackets(source: Source, tokens: Sequence[Token]) -> None:
    opened: list[Token] = []
    for token in tokens:
        if token.kind != "sign":
            continue
        if token.text in _CLOSING:
            opened.append(token)
            if len(opened) > MAX_DEPTH:
                raise source.error(
                    token.start,
                    f"brackets are nested at most {MAX_DEPTH} deep",
                    "give inner parts equations of their own",
                )
        elif token.text in _CLOSING.values():
            if not opened:
                raise source.error(token.start, f"'{token.text}' closes nothing", "remove it, or open it before")
            last = opened.pop()
            if _CLOSING[last.text] != token.text:
                raise source.error(token.start, f"'{token.text}' does not close '{last.text}'")
    if opened:
        raise source.error(
            opened[-1].start, f"'{opened[-1].text}' is never closed", f"add '{_CLOSING[opened[-1].text]}'"
        )


def _check_order(source: Source, tokens: Sequence[Token]) -> None:
    """Refuse runs of signs, starred values and two values side by side, whose parser messages would say little."""
    powers = [token for token in tokens if token.text == "**"]
    if len(powers) > MAX_POWERS:  # they nest to the right, one level each
        raise source.error(powers[MAX_POWERS].start, f"an equation has at most {MAX_POWERS} powers")
    signs = 0
    for before, token in pairwise([Token("sign", "(", 0), *tokens]):
        starts_value = token.kind != "sign" or token.text in _CLOSING
        ends_value = before.kind != "sign" or before.text in _CLOSING.values()
        if not ends_value and token.text in ("+", "-"):
            signs += 1
            if signs > MAX_SIGNS:
                raise source.error(token.start, f"at most {MAX_SIGNS} signs stand in a row")
        elif starts_value:
            signs = 0
        if not ends_value and token.text in ("*", "**"):
            raise source.error(token.start, f"'{token.text}' has nothing on its left")
        both_values = before.kind != "sign" and token.kind != "sign"
        if both_values and "where" not in (before.text, token.text):
            raise source.error(
                token.start,
                f"an operator is missing between '{shorten(before.text)}' and '{shorten(token.text)}'",
                "write * for a product",
            )


def _first_word(tokens: Sequence[Token], word: str) -> int:
    """The position of `word` outside brackets, or the end."""
    return next((k for k, token, depth in _depths(tokens) if depth == 0 and token.text == word), len(tokens))


def _split(tokens: Sequence[Token], sign: str) -> list[Sequence[Token]]:
    """The parts between the given sign, outside brackets."""
    parts: list[Sequence[Token]] = []
    start = 0
    for k, token, depth in _depths(tokens):
        if depth == 0 and token.text == sign:
            parts.append(tokens[start:k])
            start = k + 1
    return [*parts, tokens[start:]]


def _depths(tokens: Sequence[Token]) -> Iterator[tuple[int, Token, int]]:
    depth = 0
    for k, token in enumerate(tokens):
        depth -= token.text in _CLOSING.values()
        yield k, token, depth
        depth += token.text in _CLOSING


def _parse(source: Source, tokens: Sequence[Token]) -> Piece:
    """Hand checked tokens to Python's parser. It only builds a tree."""
    start, stop = tokens[0].start, tokens[-1].stop
    # Comments and line ends become blanks, so that positions stay what they are.
    plain = re.sub(r"#[^\n]*", lambda m: " " * len(m.group()), source.text[start:stop])
    plain = re.sub(r"\s", " ", plain)
    try:
        tree = ast.parse(f"({plain})", mode="eval").body
    except SyntaxError as problem:
        at = start + max((problem.offset or 1) - 2, 0)
        raise source.error(
            min(at, stop - 1), f"'{shorten(plain)}' is not a formula", "check operators, commas and brackets"
        ) from None
    except (RecursionError, MemoryError):
        raise source.error(start, "the formula is nested too deeply", "split it in several equations") from None
    return Piece(source, start, tree)


def shorten(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else f"{text[:longest]}.."
