"""The kernels that take a batch chunk by chunk: they only put others together, for one thread and for many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from symbp.codegen.interface import batching, chunk_count
from symbp.codegen.layout import call, signature
from symbp.codegen.procedure import ProcedureText, size_source
from symbp.codegen.training import gather, kept_by_optimizer, step_arguments, train_steps_arguments
from symbp.ir.affine import Size
from symbp.ir.plan import SCRATCH, Cut, Memory, Plan
from symbp.ir.statement import Reduction

#: What training runs, in the order in which a step does.
FORWARD = ("before_rows", "forward_rows", "loss_of_rows")
BOTH = ("before_rows", "forward_rows", "backward_rows", "loss_of_rows", "after_rows", "gradients_share")

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


def chunk_kernels(plan: Plan, texts: dict[str, ProcedureText], uses: dict[str, Chunks]) -> list[dict[str, Any]]:
    """The kernels that go chunk by chunk, each with its name for one thread and for several."""
    found: list[dict[str, Any]] = []
    if "predict" in uses:
        found.append(_by_chunks(uses["predict"], "predict_into", "predict_threads", ("predict_rows",)))
        found[-1] |= {"summary": "Evaluate the model.", "returns": False}
    if "train" not in uses:
        return found
    chunks = uses["train"]
    found.append(_by_chunks(chunks, "forward", "forward_threads", FORWARD))
    found[-1] |= {"summary": "Evaluate the loss."}
    found.append(_by_chunks(chunks, "loss_and_grad_into", "loss_and_grad_threads", BOTH))
    found[-1] |= {"summary": "Write the gradient of the loss to `grads`; return the loss."}
    if "update" not in texts:
        return found
    update = texts["update"].arguments
    kept = kept_by_optimizer(texts["update"])
    arguments = step_arguments(chunks.arguments(*FORWARD), chunks.arguments(*BOTH), kept, "count")
    vectors = {"params", "grads", *plan.state}
    shared = shares_update(plan)
    parts = [f"{a}[begin:end]" if shared and a in vectors else a for a in update]
    updating = {"updating": call("update", parts, indent=8 if shared else 4), "shares_update": shared}
    step = _by_chunks(chunks, "train_step_into", "train_step_threads", BOTH)
    step |= {"header": signature("_train_step", arguments)}
    found.append(
        step | updating | {"summary": "One step of training in place: forward, backward, update. Return the loss."}
    )
    code_name = texts["update"].printer.code.names.name
    inputs, _ = batching(plan, [t.name for t in plan.inputs if code_name(t.name) in arguments])
    batched = [code_name(name) for name in inputs]
    if batched:
        rows = {n: f"{n}_rows" for n in batched}
        steps = _by_chunks(chunks, "train_steps_into", "train_steps_threads", BOTH, rows, indent=4)
        steps |= {
            "header": signature("_train_steps", train_steps_arguments(arguments, batched)),
            "written": "_train_steps",
        }
        gathers = [gather(plan.tensors[name], code_name(name)) for name in inputs]
        text = call("update", parts, indent=12 if shared else 8)
        found.append(steps | {"updating": text, "shares_update": shared, "batched": batched, "gathers": gathers})
    return found


def _by_chunks(
    chunks: Chunks,
    one: str,
    threads: str,
    names: tuple[str, ...],
    renamed: dict[str, str] | None = None,
    indent: int = 0,
) -> dict[str, Any]:
    """The pieces of a kernel that calls these procedures."""
    written = f"_{one.removesuffix('_into')}"
    arguments = chunks.arguments(*names)

    def calls(*wanted: str, depth: int, lead: str = "") -> list[str]:
        return chunks.calls(*(n for n in wanted if n in names), indent=depth + indent, renamed=renamed, lead=lead)

    return {
        "one": one,
        "threads": threads,
        "written": written,
        "header": signature(written, arguments),
        "longest": chunks.cut.longest,
        "step": chunks.cut.step,
        "chunks": str(chunks.cut.count),
        "chunk_count": chunk_count(chunks.cut),
        "samples": chunks.samples,
        "samples_source": chunks.source(arguments),
        "before": calls("before_rows", depth=4),
        "rows": calls("predict_rows", "forward_rows", "backward_rows", depth=12),
        "loss": calls("loss_of_rows", depth=4, lead="loss = "),
        "after": calls("after_rows", depth=4),
        "shares": calls("gradients_share", depth=8),
        "updating": "",
        "batched": [],
        "returns": True,
    }
