"""How names are typeset: ``W2`` as W with (2) above, ``dense_W`` as W of dense, ``x_bar`` as x under a bar.

No two tensors of a report look alike: where the rules would make them so, the later one is set in full, in typewriter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from symbp.ir import Program, Role, Tensor

#: Greek letters with a character of their own. LaTeX knows them as ``\name``.
GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "upsilon": "υ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
    "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Upsilon": "Υ",
    "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    """A head, what stands above and below it, and the marks over it (``bar``, ``dot``), innermost first."""

    head: str
    above: str = ""
    below: str = ""
    marks: tuple[str, ...] = ()
    whole: bool = False  # set in typewriter, as it is spelled


@dataclass(frozen=True)
class Names:
    """The typeset name of every tensor of some programs; built by `typeset_names`."""

    of_tensor: dict[str, Name] = field(default_factory=dict)

    def tensor(self, name: str) -> Name:
        return self.of_tensor.get(name) or split_name(name)


def typeset_names(programs: Iterable[Program]) -> Names:
    found: dict[str, Name] = {}
    taken: dict[Name, str] = {}
    for program in programs:
        for tensor in program.tensors:
            if tensor.name in found:
                continue
            name = _tensor_name(program, tensor)
            if name in taken:
                name = Name(tensor.name, whole=True)
            found[tensor.name] = name
            taken[name] = tensor.name
    return Names(found)


def _tensor_name(program: Program, tensor: Tensor) -> Name:
    mark = {Role.ADJOINT: "bar", Role.TANGENT: "dot"}.get(tensor.role)
    if mark and tensor.primal and program.has(tensor.primal):
        primal = _tensor_name(program, program.tensor(tensor.primal))
        return Name(primal.head, primal.above, primal.below, (*primal.marks, mark), primal.whole)
    return split_name(tensor.name)


def split_name(name: str) -> Name:
    """The parts of an identifier: ``W2``, ``dense_2_W``, ``u_xx``, ``learning_rate``.

    A short part (one letter, a Greek name, a letter with digits) is the head; digits after it stand above in brackets,
    so that they cannot be taken for an index. What else belongs to it stands above where it is a word, else below.
    """
    parts = [p for p in name.split("_") if p]
    if not parts:
        return Name(name, whole=True)
    if len(parts) == 1:
        return _with_digits(parts[0])
    first_is_word = not _is_short(parts[0])
    head_at = len(parts) - 1 if first_is_word and _is_short(parts[-1]) and not parts[-1].isdigit() else 0
    if not _is_short(parts[head_at]):
        return Name(" ".join(parts))
    head = _with_digits(parts[head_at])
    rest = " ".join(p for k, p in enumerate(parts) if k != head_at)
    words = any(len(p) > 2 and len(set(p)) > 1 for p in rest.split()) or bool(head.above)
    return Name(head.head, f"{head.above} {rest}".strip() if words else "", "" if words else rest)


def split_number(name: str) -> Name:
    """The parts of an index or a size, all qualifiers below: the n of ``n_batch``, the second k in ``k2``."""
    parts = split_name(name)
    return Name(parts.head, "", " ".join(p for p in (parts.above, parts.below) if p), (), parts.whole)


def _is_short(part: str) -> bool:
    return part in GREEK or re.fullmatch(r"[A-Za-z]?\d*", part) is not None


def _with_digits(part: str) -> Name:
    match = re.fullmatch(r"([A-Za-z]+?)(\d+)", part)
    return Name(match[1], above=match[2]) if match else Name(part)
