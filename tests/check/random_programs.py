"""Random programs: a few equations, each of a form that the index solver or the scans must get right.

Every tensor has axes of two extents: ``n`` (a run-time size) and ``k`` (3). Shapes are strings of these letters, as in
"nk"; an element is read with one index per letter, and the moves below disturb one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import sympy as sp
from hypothesis import strategies as st

from symbp.ir import Affine, Index, NonNegative, Program, Reduction, Role, Size, Zero, floor_div, mod
from symbp.ir import functions as fn
from tests.derive.equations import Equations, Handle

N = Size("n")
SHAPES = ["", "n", "k", "nk", "nn", "kk"]
Where = list[NonNegative | Zero]


@dataclass
class Growing:
    """A program while it grows: tensors by shape, and a counter for names."""

    draw: Callable[..., object]
    equations: Equations = field(default_factory=lambda: Equations("random"))
    tensors: list[tuple[Handle, str]] = field(default_factory=list)

    def pick(self, *among: object) -> object:
        return self.draw(st.sampled_from(among))

    def tensor(self) -> tuple[Handle, str]:
        # later ones first, so that programs become deep; shrinks towards the last
        return self.draw(st.sampled_from(self.tensors[::-1]))  # type: ignore[return-value]

    def name(self) -> str:
        return f"t{len(self.tensors)}"

    def indices(self, shape: str, stem: str = "") -> tuple[Index, ...]:
        eq = self.equations
        return tuple(eq.axis(f"{stem}{a}{q}", "n" if a == "n" else 3) for q, a in enumerate(shape))

    def keep(self, handle: Handle, shape: str) -> None:
        self.tensors.append((handle, shape))

    def operand(self, indices: tuple[Index, ...], shape: str) -> sp.Expr:
        """An element of some tensor that these indices can address, else an index's value."""
        fitting = [(h, s) for h, s in self.tensors if all(a in shape for a in s)]
        handle, wanted = self.draw(st.sampled_from(fitting[::-1]))  # type: ignore[misc]
        chosen = [self.pick(*(i for i, a in zip(indices, shape, strict=True) if a == letter)) for letter in wanted]
        return handle[tuple(chosen)] if chosen else handle[()]

    # ------------------------------------------------------------------------------------------------------- moves

    def map(self) -> None:
        shape = str(self.pick(*SHAPES))
        i = self.indices(shape)
        a, b = self.operand(i, shape), self.operand(i, shape)
        forms = [a * b, a + b / 3, fn.tanh(a), sp.sin(a) * b, fn.sigmoid(a + b), a / (1 + b**2), sp.exp(-(a**2)), a**3]
        self.keep(self.equations.let(self.name(), i, self.pick(*forms)), shape)  # type: ignore[arg-type]

    def contraction(self) -> None:
        shape = str(self.pick(*SHAPES))
        over = str(self.pick("n", "k"))
        i, r = self.indices(shape), self.indices(over, "r")
        body = self.operand(i + r, shape + over) * self.operand(i + r, shape + over) / 2
        self.keep(self.equations.let(self.name(), i, body, r), shape)

    def moved_index(self) -> None:
        """Shifted, reversed, rolled, repeated, wrapped round: the same tensor at other places."""
        handle, shape = self.tensor()
        if "n" not in shape:
            return self.map()
        i = self.indices(shape)
        place = shape.index("n")
        n = i[place]
        where: Where = []
        moved: Affine
        match self.pick("earlier", "later", "reversed", "rolled", "halved", "doubled"):
            case "earlier":
                moved, where = n - 2, [NonNegative(n - 2)]
            case "later":
                moved, where = n + 1, [NonNegative(N - 2 - n)]
            case "reversed":
                moved = N - 1 - n
            case "rolled":
                moved = mod(n + 1, N)
            case "halved":
                moved = floor_div(n, 2)
            case _:
                moved, where = n * 2, [NonNegative(N - 1 - n * 2)]
        subscripts = tuple(moved if q == place else Affine.of(s) for q, s in enumerate(i))
        value = handle[subscripts] * self.operand(i, shape)
        self.keep(self.equations.let(self.name(), i, value, where=where), shape)
        return None

    def gather(self) -> None:
        handle, shape = self.tensor()
        if "k" not in shape:
            return self.map()
        place = shape.index("k")
        i = self.indices(shape.replace("k", "n", 1))
        read = Handle(self.equations, "label").read(i[place])
        subscripts = tuple(Affine.of(read) if q == place else Affine.of(s) for q, s in enumerate(i))
        self.keep(self.equations.let(self.name(), i, handle[subscripts]), shape.replace("k", "n", 1))
        return None

    def window(self) -> None:
        """A convolution with padding, strided or dilated."""
        handle, shape = self.tensor()
        if "n" not in shape:
            return self.map()
        stride, dilation, pad = (int(str(self.pick(*c))) for c in ((1, 2), (1, 2), (0, 1)))
        i, (u,) = self.indices(shape), self.indices("k", "u")
        place = shape.index("n")
        moved = i[place] * stride + u * dilation - pad
        subscripts = tuple(moved if q == place else Affine.of(s) for q, s in enumerate(i))
        where = [NonNegative(moved), NonNegative(N - 1 - moved)]
        weights = [h for h, s in self.tensors if s == "k"]
        value = handle[subscripts] * self.draw(st.sampled_from(weights))[u]  # type: ignore[index]
        self.keep(self.equations.let(self.name(), i, value, (u,), where=where), shape)
        return None

    def causal(self) -> None:
        (i,), (r,) = self.indices("n"), self.indices("n", "r")
        signals = [h for h, s in self.tensors if s == "n"]
        a, b = (self.draw(st.sampled_from(signals)) for _ in range(2))
        value = a[i - r] * b[r]  # type: ignore[index]
        self.keep(self.equations.let(self.name(), (i,), value, (r,), where=[NonNegative(i - r)]), "n")

    def scan(self) -> None:
        """A recurrence along n, forwards or backwards, over an array that has one more element."""
        eq, name = self.equations, self.name()
        (t,), (k, m) = self.indices("n", "t"), self.indices("kk", "c")
        extents = (N + 1, 3)
        weights = [h for h, s in self.tensors if s == "kk"]
        drive = self.operand((t, k), "nk")
        forwards = bool(self.pick(True, False))
        first, before, after = (Affine.of(0), t + 0, t + 1) if forwards else (Affine.of(N), t + 1, t + 0)
        state = eq.let(f"{name}_state", (k,), sp.Rational(1, 2), at=(first, k), shape=extents)
        mixed = eq.let(f"{name}_mixed", (t, k), state[before, m] * self.draw(st.sampled_from(weights))[m, k], (m,))  # type: ignore[index]
        eq.let(f"{name}_state", (t, k), fn.tanh(mixed[t, k] + drive), at=(after, k))
        self.keep(eq.let(name, (t, k), state[after, k]), "nk")

    def branch(self) -> None:
        shape = str(self.pick("n", "nk"))
        i = self.indices(shape)
        a, b = self.operand(i, shape), self.operand(i, shape)
        condition = sp.Gt(self.equations.value(i[0] * 2 - N), 0)
        self.keep(self.equations.let(self.name(), i, fn.select(condition, sp.exp(a / 4), b)), shape)

    def diagonal(self) -> None:
        shape = str(self.pick("nn", "kk"))
        i = self.indices(shape)
        value = self.operand(i, shape)
        self.keep(self.equations.let(self.name(), i, value, where=[Zero(i[0] - i[1])]), shape)

    def largest(self) -> None:
        handle, shape = self.tensor()
        if not shape:
            return self.map()
        i = self.indices(shape)
        self.keep(self.equations.let(self.name(), i[:-1], handle[i], i[-1:], Reduction.MAX), shape[:-1])
        return None


SMOOTH = ["map", "contraction", "moved_index", "gather", "window", "causal", "scan", "branch", "diagonal"]


@st.composite
def programs(draw: Callable[..., object], moves: list[str] | None = None, most: int = 6) -> Program:
    """A program with one parameter of each shape, some equations, and a loss that reads all of them."""
    growing = Growing(draw)
    eq = growing.equations
    eq.given("label", *growing.indices("n"), below=3)
    for shape in SHAPES:
        growing.keep(eq.parameter(f"p{shape}", *growing.indices(shape)), shape)
    given = len(growing.tensors)
    for move in draw(st.lists(st.sampled_from(moves or SMOOTH), min_size=1, max_size=most)):  # type: ignore[attr-defined]
        getattr(growing, move)()
    terms = []
    for handle, shape in growing.tensors[given:]:
        i = growing.indices(shape)
        terms.append(eq.let(f"loss_{handle.name}", (), sp.sin(handle[i] if i else handle[()]), i)[()])
    eq.let("loss", (), sum(terms[1:], terms[0]), role=Role.LOSS)
    return eq.program("loss")
