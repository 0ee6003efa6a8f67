"""The schedule for people: which passes ran, the work in order with what it costs, and the memory it lives in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from symbp.ir.account import Account, Place, Use, Work, WorkList
from symbp.ir.affine import ONE, Affine
from symbp.ir.cost import Cost, evaluate
from symbp.ir.plan import ROWS
from symbp.ir.text import statement_text
from symbp.ir.trace import PassRecord

#: What a run-time size is taken to be where nobody says.
ASSUMED = 32
#: Of more names than this the first are shown, and how many there are.
_MOST_NAMES = 8

_PARTS = {"": "the model", "predict": "predict", "training": "training", "update": "update"}
_COUNTS = ("FLOP", "calls", "bytes")


def schedule_text(
    account: Account, passes: Sequence[PassRecord], sizes: Mapping[str, int], target: str, dtype: str
) -> str:
    """The schedule as plain text. Numbers are for `sizes`; other run-time sizes are taken as `ASSUMED`."""
    title = f"Schedule of {account.model} for {target}, {dtype}"
    lines = [title, "=" * len(title), "", *_passes(passes)]
    known = {**account.known, **sizes}
    lines += ["", "Work", "----", _sizes_line(account, sizes), _LEGEND]
    for use in account.uses:
        inside = use.sizes(known, ASSUMED)
        for listed in use.lists:
            lines += ["", *_list(listed, inside)]
        lines += _total(use, inside)
    for use in account.uses:
        if use.places:
            lines += ["", *_memory(use, use.sizes(known, ASSUMED))]
    return "\n".join(lines) + "\n"


_LEGEND = (
    "FLOP are additions, multiplications and the like, one by one; calls are exp, tanh and their kind;\n"
    "bytes are those that must move if nothing moves twice; FLOP/byte is what is done with each of them."
)


def _sizes_line(account: Account, sizes: Mapping[str, int]) -> str:
    given = [f"{name} = {sizes[name]}" for name in account.sizes if name in sizes]
    assumed = [f"{name} = {ASSUMED}" for name in account.sizes if name not in sizes]
    if not given and not assumed:
        return "numbers are exact: every extent is known"
    unsaid = f" (say otherwise with --sizes {assumed[0].partition(' ')[0]}=N)" if assumed else ""
    return f"numbers for {', '.join(given + assumed)}{unsaid}"


# ------------------------------------------------------------------------------------------------------------- passes


def _passes(passes: Sequence[PassRecord]) -> list[str]:
    lines = ["Passes", "------"]
    passes = [p for p in passes if not (p.before.startswith("0 ") and p.after.startswith("0 "))]
    width = max((len(p.name) for p in passes), default=0)
    amounts = max((len(_amount(p)) for p in passes), default=0)
    part = None
    parts = list(dict.fromkeys(p.part for p in passes))
    for record in sorted(passes, key=lambda p: parts.index(p.part)):
        if record.part != part:
            part = record.part
            lines.append(f"{_PARTS.get(part, part)}:")
        lines.append(f"  {record.name:<{width}}   {_amount(record):<{amounts}}   {_rewritten(record)}".rstrip())
    return lines


def _amount(record: PassRecord) -> str:
    return record.after if record.before == record.after else f"{record.before} -> {record.after}"


def _rewritten(record: PassRecord) -> str:
    told = (("rewrote", record.changed), ("made", record.made), ("removed", record.gone))
    parts = [f"{word} {_names(names)}" for word, names in told if names]
    return "; ".join(parts) if parts or record.before != record.after else "nothing to do"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown}, and {len(names) - _MOST_NAMES} more"


# --------------------------------------------------------------------------------------------------------------- work


def _list(listed: WorkList, known: Mapping[str, int]) -> list[str]:
    inside = {**known, **listed.sizes}
    rows = [["", "", *_COUNTS, "FLOP/byte"]]
    rows += [[f"{work.number:>3}", _what(work), *_numbers(work.cost, inside)] for work in listed.works]
    heading, *lines = _aligned(rows, right_from=2)
    shown = [_title(listed, known), heading]
    for work, line in zip(listed.works, lines, strict=True):
        details = [part.strip() for s in work.statements for part in statement_text(s).splitlines()]
        details += filter(None, [_formulas(work.cost)])
        shown += [line, *(f"       {detail}" for detail in details)]
    return shown


def _title(listed: WorkList, known: Mapping[str, int]) -> str:
    if listed.times == ONE:
        return listed.procedure
    number, samples = evaluate(listed.times, known, ASSUMED), {**known, **listed.sizes}.get(ROWS.name, 0)
    chunks = "one chunk" if number == 1 else f"each of {number:,} chunks"
    return f"{listed.procedure}, for {chunks} of up to {samples:,} samples"


def _what(work: Work) -> str:
    return ", ".join(filter(None, [f"{work.kind} {work.name}".strip(), work.at]))


def _values(cost: Cost) -> tuple[Affine, ...]:
    return cost.flops, cost.calls, cost.bytes


def _numbers(cost: Cost, sizes: Mapping[str, int]) -> list[str]:
    flops, calls, moved = (evaluate(value, sizes, ASSUMED) for value in _values(cost))
    return [f"{flops:,}", f"{calls:,}" if calls else "", f"{moved:,}", _intensity(flops, moved)]


def _intensity(flops: int, moved: int) -> str:
    return f"{flops / moved:.2f}" if moved and flops else ""


def _formulas(cost: Cost) -> str:
    """What depends on run-time sizes, as formulas."""
    found = zip(_COUNTS, _values(cost), strict=True)
    return ";  ".join(f"{name} = {value}" for name, value in found if not value.is_constant)


def _total(use: Use, known: Mapping[str, int]) -> list[str]:
    flops, calls, moved, in_products = _sums(use, known)
    share = f", {100 * in_products / flops:.0f} % of them in products" if flops and in_products else ""
    return [f"{use.name} in total: {flops:,} FLOP{share}; {calls:,} calls; {moved:,} bytes"]


def _sums(use: Use, known: Mapping[str, int]) -> tuple[int, int, int, int]:
    """FLOP, calls, bytes and the FLOP in products of all the work."""
    sums = [0, 0, 0, 0]
    for listed in use.lists:
        times, inside = evaluate(listed.times, known, ASSUMED), {**known, **listed.sizes}
        cost = listed.cost
        for k, value in enumerate((cost.flops, cost.calls, cost.bytes, cost.in_products)):
            sums[k] += times * evaluate(value, inside, ASSUMED)
    return sums[0], sums[1], sums[2], sums[3]


# ------------------------------------------------------------------------------------------------------------- memory


def _memory(use: Use, known: Mapping[str, int]) -> list[str]:
    title = f"Memory of {use.name}"
    rows = [["", "shape", "in", "bytes", "lives", "shares with"]]
    rows += [_place(place, known) for place in use.places]
    lines = [title, "-" * len(title), *_aligned(rows, right_from=3, right_to=4)]
    for name, count in use.bytes.items():
        number = evaluate(count, known, ASSUMED)
        formula = "" if count.is_constant else f" = {count}"
        lines.append(f"{name} in total: {number:,} bytes{formula}")
    return lines


def _place(place: Place, known: Mapping[str, int]) -> list[str]:
    shape = f"({', '.join(map(str, place.shape))}{',' if len(place.shape) == 1 else ''})"
    moved = f"{evaluate(place.bytes, known, ASSUMED):,}"
    lives = f"{place.first} to {place.last}" if place.first != place.last else str(place.first)
    return [place.tensor, shape, place.memory, moved, lives, _names(place.shares_with)]


def _aligned(rows: Sequence[Sequence[str]], right_from: int, right_to: int = 99) -> list[str]:
    """The rows with their cells below each other; the columns from `right_from` on, which are numbers, to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            f"{cell:>{width}}" if right_from <= k < right_to else f"{cell:<{width}}"
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("   ".join(cells).rstrip())
    return lines


# ------------------------------------------------------------------------------------------------------------ records


def schedule_records(
    account: Account, passes: Iterable[PassRecord], sizes: Mapping[str, int], target: str
) -> dict[str, Any]:
    """The same as plain records, for programs."""
    known = {**account.known, **sizes}
    return {
        "target": target,
        "sizes": {name: sizes.get(name, ASSUMED) for name in account.sizes},
        "passes": [{name: _plain(getattr(p, name)) for name in PassRecord.__slots__} for p in passes],
        "work": [
            {
                "use": use.name,
                "procedure": listed.procedure,
                **_work_record(work, listed, use.sizes(known, ASSUMED)),
            }
            for use in account.uses
            for listed in use.lists
            for work in listed.works
        ],
        "memory": [
            {
                "use": use.name,
                "tensor": place.tensor,
                "shape": [str(e) for e in place.shape],
                "memory": place.memory,
                "bytes": {
                    "formula": str(place.bytes),
                    "value": evaluate(place.bytes, use.sizes(known, ASSUMED), ASSUMED),
                },
                "lives": [place.first, place.last],
                "shares_with": list(place.shares_with),
            }
            for use in account.uses
            for place in use.places
        ],
        "bytes": {
            use.name: {name: evaluate(count, use.sizes(known, ASSUMED), ASSUMED) for name, count in use.bytes.items()}
            for use in account.uses
        },
    }


def _work_record(work: Work, listed: WorkList, known: Mapping[str, int]) -> dict[str, Any]:
    inside = {**known, **listed.sizes}
    return {
        "number": work.number,
        "name": work.name,
        "kind": work.kind,
        "at": work.at,
        "times": evaluate(listed.times, known, ASSUMED),
        "equations": [statement_text(s) for s in work.statements],
        **{
            name.lower(): {"formula": str(value), "value": evaluate(value, inside, ASSUMED)}
            for name, value in zip(_COUNTS, _values(work.cost), strict=True)
        },
    }


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
