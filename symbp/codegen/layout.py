"""Lay out calls and signatures as a formatter would: on one line if it fits, else one argument a line."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 88
LONGEST_TAIL = 32  # what may follow a closing bracket on its line


def call(function: str, arguments: Sequence[str], *, indent: int = 0, tail: str = "", lead: str = "") -> str:
    """``lead function(a, b) tail``. The continuation lines are indented relative to the first."""
    one_line = f"{lead}{function}({', '.join(arguments)}){tail}"
    if indent + len(one_line) <= WIDTH:
        return one_line
    joined = ", ".join(arguments)
    if indent + 4 + len(joined) <= WIDTH:
        return f"{lead}{function}(\n    {joined}\n){tail}"
    lines = "".join(f"    {a},\n" for a in arguments)
    return f"{lead}{function}(\n{lines}){tail}"


def folded_call(function: str, arguments: Sequence[str], *, indent: int, lead: str = "") -> str:
    """The same, with arguments that are too long for a line of their own taken apart at their operators."""
    text = call(function, arguments, indent=indent, lead=lead)
    if all(indent + len(line) <= WIDTH for line in text.split("\n")):
        return text
    lines = "".join(f"    {line}\n" for a in arguments for line in _fold_piece(f"{a},", indent + 4))
    return f"{lead}{function}(\n{lines})"


def signature(name: str, arguments: Sequence[str], returns: str = "", *, prefix: str = "def ") -> str:
    """``def name(a, b) -> returns:``."""
    return call(name, arguments, lead=prefix, tail=f" -> {returns}:" if returns else ":")


def parts(values: Sequence[str]) -> str:
    """A tuple display: ``(a,)``, ``(a, b)``."""
    return f"({', '.join(values)}{',' if len(values) == 1 else ''})"


def display(lead: str, values: Sequence[str], *, indent: int = 0) -> str:
    """``lead (a, b)``, or one value a line."""
    one_line = f"{lead}{parts(values)}"
    if indent + len(one_line) <= WIDTH:
        return one_line
    lines = "".join(f"    {v},\n" for v in values)
    return f"{lead}(\n{lines})"


def joined_names(values: Sequence[str]) -> str:
    """``a, b and c``."""
    if len(values) < 2:
        return "".join(values)
    return f"{', '.join(values[:-1])} and {values[-1]}"


def fold(text: str) -> str:
    """Break the lines of generated code that are too long, the way a formatter would."""
    return "\n".join(_fold_line(line) for line in text.split("\n"))


def _fold_line(line: str) -> str:
    stripped = line.lstrip(" ")
    indent = len(line) - len(stripped)
    if len(line) > WIDTH and stripped.startswith("# "):
        return _indented("\n".join(f"# {part}" for part in _fold_equation(stripped[2:], WIDTH - indent - 2)), indent)
    if len(line) <= WIDTH or stripped.startswith(("#", "def ", '"')):
        return line
    if stripped.startswith("if ") and stripped.endswith(":"):
        return _indented(_fold_condition(stripped[3:-1], indent), indent)
    if stripped.startswith("for ") and stripped.endswith("):"):
        head, _, inside = stripped[:-2].partition(" in range(")
        return _indented(call("range", _split_at(inside, (",",)), indent=indent, lead=f"{head} in ", tail=":"), indent)
    if stripped.startswith("return "):
        return _fold_call(stripped[7:], indent, "return ") or line
    lead, operator, value = _split_assignment(stripped)
    if not operator:
        return _fold_call(stripped, indent) or line
    as_call = _fold_call(value, indent, f"{lead} {operator} ")
    if as_call and all(len(line) <= WIDTH for line in as_call.split("\n")):
        return as_call
    value, tail = _without_brackets(value)
    body = _fold_piece(value, indent + 4)
    return _indented("\n".join([f"{lead} {operator} (", *(f"    {b}" for b in body), f"){tail}"]), indent)


def _without_brackets(value: str) -> tuple[str, str]:
    """``(a - b) / n`` is ``a - b`` and `` / n``: brackets that are there already serve for the line breaks."""
    closing = _closing(value[1:]) + 1 if value.startswith("(") else 0
    tail = value[closing + 1 :]
    return (value[1:closing], tail) if closing and len(tail) < LONGEST_TAIL else (value, "")


def _fold_condition(text: str, indent: int) -> str:
    """A long condition, one part a line."""
    parts = _split_at(text, (" and ",))
    if indent + 4 + len(text) <= WIDTH:
        parts = [text]
    return "\n".join(["if (", *(f"    {p}" for p in parts), "):"])


def _fold_equation(text: str, width: int) -> list[str]:
    """An equation in lines of at most `width` where it can be, broken outside brackets if possible."""
    lead = " " * (len(text) - len(text.lstrip()))
    lines: list[str] = []
    rest = text
    while len(rest) > width and (position := _best_break(rest, width)) is not None:
        lines.append(rest[:position].rstrip())
        rest = f"{lead}    {rest[position:].lstrip()}"
    return [*lines, rest]


def _best_break(text: str, width: int) -> int | None:
    """Where to break a line: as far outside as can be, at a comma sooner than at an operator, and as late as can be.

    A line should be half full at least.
    """
    best: tuple[bool, int, int, int] | None = None
    square = depth = 0
    start = len(text) - len(text.lstrip())
    for k, character in enumerate(text[: width + 1]):
        square += (character == "[") - (character == "]")
        depth += (character == "(") - (character == ")")
        is_where = text.startswith(" where ", k)
        if square or k <= start:
            continue
        if is_where or (character == " " and text[k - 1] == ","):
            kind = 0
        elif text[k : k + 3] in (" + ", " - "):
            kind = 1
        elif character in "*/" and "*" not in (text[k - 1], text[k + 1]):
            kind = 2
        elif text[k - 2 : k + 1] in (" = ", "+= "):
            kind = 3
        else:
            continue
        found = (is_where or 2 * k >= width, -depth, -kind, k)
        best = found if best is None else max(best, found)
    return None if best is None else best[-1]


def _fold_piece(piece: str, indent: int) -> list[str]:
    """A part that is too long still: taken apart at its operators, or else the bracket at its end is opened."""
    if indent + len(piece) <= WIDTH:
        return [piece]
    if piece.endswith(","):
        *lines, last = _fold_piece(piece[:-1], indent)
        return [*lines, last + ","]
    apart = _split_operators(piece)
    if len(apart) > 1:
        return [line for part in apart for line in _fold_piece(part, indent)]
    opening = _opening(piece)
    if opening < 0:
        return [piece]
    inside = piece[opening + 1 : -1]
    arguments = _split_at(inside, (",",))
    parts = [f"{a}," for a in arguments] if len(arguments) > 1 else _split_operators(inside)
    return [piece[: opening + 1], *(f"    {line}" for part in parts for line in _fold_piece(part, indent + 4)), ")"]


def _opening(piece: str) -> int:
    """Where the round bracket opens that closes at the end; -1 if there is none."""
    depth = 0
    for position in range(len(piece) - 1 if piece.endswith(")") else -1, -1, -1):
        depth += (piece[position] == ")") - (piece[position] == "(")
        if depth == 0:
            return position
    return -1


def _fold_call(text: str, indent: int, lead: str = "") -> str:
    """A long call with its arguments on lines of their own; empty if the text is no call."""
    name, opening, inside = text.partition("(")
    if not opening or not name.replace(".", "").isidentifier() or _closing(inside) != len(inside) - 1:
        return ""
    return _indented(folded_call(name, _split_at(inside[:-1], (",",)), indent=indent, lead=lead), indent)


def _closing(inside: str) -> int:
    """Where the bracket closes that was opened before `inside`; -1 if it does not."""
    depth = 1
    for position, character in enumerate(inside):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return position
    return -1


def _indented(text: str, indent: int) -> str:
    return "\n".join(" " * indent + part for part in text.split("\n"))


def _split_assignment(text: str) -> tuple[str, str, str]:
    for operator in (" += ", " = "):
        lead, found, value = text.partition(operator)
        if found and "(" not in lead:
            return lead, operator.strip(), value
    return text, "", ""


def _split_operators(value: str) -> list[str]:
    """The parts of a choice, the terms of a sum, or else the factors of a product, each led by its operator."""
    for operators in ((" if ", " else "), (" + ", " - "), (" * ", " / ")):
        pieces = _split_at(value, operators)
        if len(pieces) > 1:
            return pieces
    return [value]


def _split_at(text: str, separators: tuple[str, ...]) -> list[str]:
    """Split outside brackets and quotes; an operator goes with what follows it, a comma goes."""
    pieces: list[str] = []
    depth = start = position = 0
    quoted = False
    while position < len(text):
        character = text[position]
        quoted ^= character == '"'
        depth += 0 if quoted else (character in "([{") - (character in ")]}")
        free = depth == 0 and not quoted
        found = next((s for s in separators if free and text.startswith(s, position)), None)
        if found and position > start:
            pieces.append(text[start:position].strip())
            start = position + (1 if found == "," else 0)
            position += len(found)
        else:
            position += 1
    return [*pieces, text[start:].strip()]
