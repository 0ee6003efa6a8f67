"""The kernels that take a batch chunk by chunk: they only put others together, for one thread and for many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from symbp.codegen.layout import call
from symbp.codegen.procedure import ProcedureText, size_source
from symbp.ir.affine import Size
from symbp.ir.plan import SCRATCH, Cut, Memory, Plan
from symbp.ir.statement import Reduction

_OF_CHUNK = tuple(m.value for m in (Memory.CHUNK, Memory.CHUNK_POSITIONS))
#: What a call of a chunk or a share is given in place of the arguments of these names.
_PLACES = {
    "first": "begin",
    "last": "end",
    # A parallel loop counts in unsigned numbers, for which a piece would be compiled once more.
    "part": "np.int64(worker)",
    "parts": "workers",
    **{n: f"{n}[worker]" for n in _OF_CHUNK},
}


@dataclass(frozen=True)
class Chunks:
    """The pieces of one use: the chunks' length, how many samples there are, and what is called for each chunk."""

    plan: Plan
    cut: Cut
    texts: dict[str, ProcedureText]

    @property
    def samples(self) -> str:
        """The number of samples: ``n_batch``, or a number."""
        return str(self.cut.extent)

    def source(self, arguments: Sequence[str]) -> str:
        """Where it comes from, ``x.shape[0]``; nothing for a number."""
        size = self.cut.extent.as_atom()
        if not isinstance(size, Size):
            return ""
        preferred = [t.name for t in self.plan.inputs if self._code_name(t.name) in arguments]
        tensor, tail = size_source(size, preferred, self.plan)
        return f"{self._code_name(tensor)}{tail}"

    def arguments(self, *names: str) -> list[str]:
        """What a function needs that calls these procedures, in the one order that all follow."""
        found = dict.fromkeys(a for n in names if n in self.texts for a in self.texts[n].arguments)
        size = self.cut.extent.as_atom()
        if isinstance(size, Size):
            given = [t.name for t in self.plan.inputs if self._code_name(t.name) in found]
            found[self._code_name(size_source(size, given, self.plan)[0])] = None
        found[Memory.CHUNK.value] = None
        scratch = [m.value for m in SCRATCH]
        inputs = [self._code_name(t.name) for t in self.plan.inputs]
        results = [self._code_name(t.name) for t in self.plan.outputs]
        order = ["params", *inputs, *scratch, *results, "grads"]
        return [a for a in order if a in found]

    def given(self, arguments: Sequence[str]) -> list[str]:
        """The same as the interface knows them: inputs by the names that people gave them."""
        names = {self._code_name(t.name): t.name for t in self.plan.inputs}
        return [names.get(a, a) for a in arguments]

    def calls(self, *names: str, indent: int, renamed: dict[str, str] | None = None, lead: str = "") -> list[str]:
        """The calls of those of the procedures that there are."""
        places = {**_PLACES, **(renamed or {})}
        return [
            call(n, [places.get(a, a) for a in self.texts[n].arguments], indent=indent, lead=lead)
            for n in names
            if n in self.texts
        ]

    def _code_name(self, name: str) -> str:
        return next(iter(self.texts.values())).printer.code.names.name(name)


def shares_update(plan: Plan) -> bool:
    """True if every element of the parameters is updated by itself, so that threads may share them out."""
    update = plan.procedure("update")
    assert update is not None
    return all(s.reduction is Reduction.NONE for nest in update.nests for s in nest.statements)
