"""The Python door: a model declared as equations over named axes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sympy as sp

from symbp.errors import ShapeError, SpecError, SymbpError, did_you_mean
from symbp.frontend.checks import check_declared, check_definition
from symbp.frontend.declarations import AxisDeclaration, Declarations, Definition, TensorDeclaration
from symbp.frontend.expression import Axis, Element, Extent, to_expression, to_relations
from symbp.frontend.functions import FUNCTIONS, Function
from symbp.frontend.handle import TensorHandle
from symbp.frontend.initializers import as_initializer, default_initializer
from symbp.frontend.integers import lower_integer
from symbp.frontend.left_side import read_left_side
from symbp.frontend.lowering import lower_model
from symbp.frontend.place import caller
from symbp.ir import Affine, DType, Initializer, Program, Role, Size, verify
from symbp.ir.bounds import is_nonnegative
from symbp.ir.names import check_name, fresh_name

LARGEST_EXTENT = 2**31 - 1


class Model:
    """A set of equations: ``z[b, k] = sum(x[b, j]*W[j, k], j) + c[k]``, one tensor on each left side.

    Declare axes, then tensors over them, then equations; a tensor may be read before its equation. Errors name the line
    that declared what is wrong.

    >>> model = Model("line")
    >>> n = model.axis("n", "samples")
    >>> x, y = model.input("x", n), model.input("y", n)
    >>> m, c = model.parameter("m"), model.parameter("c")
    >>> p = model.define("p[n]", m*x[n] + c)
    """

    def __init__(self, name: str = "model") -> None:
        self.name = check_name(name, "model", caller())
        self.axes: dict[str, Axis] = {}
        self.sizes: dict[str, Extent] = {}  # run-time sizes under the names that users gave them: "batch"
        self.tensors: dict[str, TensorHandle] = {}
        self.optimizer_rule: Any = None
        self._axes: dict[str, AxisDeclaration] = {}
        self._tensors: dict[str, TensorDeclaration] = {}
        self._definitions: list[Definition] = []
        self._outputs: list[str] = []
        self._loss = ""
        self._layer = ""
        self._layers: dict[str, None] = {}
        self._place: str | None = None

    # Declarations

    def axis(self, name: str, extent: Any, *, place: str | None = None, hint: str | None = None) -> Axis:
        """An index that runs over ``0 <= name < extent``.

        `extent` is a positive integer, the name of a run-time size ("batch": at least 1, read from the inputs), another
        axis (the same extent), or an expression of sizes (``t.size - 2``).
        """
        with self._at(place):
            self._check_new_name(name, "axis")
            size, affine = self._extent(extent, name)
            axis = Axis(name, size)
            self.axes[name] = axis
            self._axes[name] = AxisDeclaration(axis, affine, hint or name, self._place or "")
            return axis

    def input(
        self,
        name: str,
        *axes: Axis,
        dtype: str = "float",
        below: Any = None,
        finite: bool = True,
        place: str | None = None,
    ) -> TensorHandle:
        """An array given at run time. ``dtype="int"`` with ``below=k``: whole numbers in [0, k), such as labels.

        NaN and infinity in it are refused; with ``finite=False`` they pass, and the equations say what becomes of them.
        """
        with self._at(place):
            if dtype not in ("float", "int"):
                raise SpecError(
                    f"input '{name}' has dtype {dtype!r}, expected 'float' or 'int'",
                    remedy=did_you_mean(str(dtype), ["float", "int"]),
                )
            if below is not None and dtype != "int":
                raise SpecError(f"input '{name}' has below= but is not of integers", remedy="add dtype='int'")
            bound = None if below is None else self._extent(below, name)[1]
            return self._declare(name, axes, Role.INPUT, "input", dtype=DType(dtype), below=bound, finite=bool(finite))

    def parameter(
        self, name: str, *axes: Axis, init: str | float | Initializer | None = None, place: str | None = None
    ) -> TensorHandle:
        """A tensor to be learnt. `init`: an initializer's name, a constant, or `Initializer(..)`.

        Without one, a matrix starts by ``glorot_uniform`` and a vector or a number at zero.
        """
        with self._at(place):
            initializer = default_initializer(len(axes)) if init is None else as_initializer(init, name)
            for axis in axes:
                self._check_axis(axis, f"parameter '{name}'")
                extent = self._axes[axis.name].extent
                if not extent.is_constant:
                    raise ShapeError(
                        f"parameter '{name}' runs over axis '{axis}', whose extent {extent} is known at run time only",
                        remedy="give the axis a fixed extent",
                    )
            return self._declare(name, axes, Role.PARAMETER, "parameter", initializer=initializer)

    def variable(self, name: str, *axes: Axis, place: str | None = None) -> TensorHandle:
        """A tensor whose equations follow, for recurrences: ``h[b, 0, k] = ..``, ``h[b, t + 1, k] = ..``.

        Each axis reaches as far as the equations write; it may begin at -1 (``h[b, -1, k] = ..``).
        """
        with self._at(place):
            return self._declare(name, axes, Role.ACTIVATION, "variable")

    def parameter_vector(self, name: str, axis: Axis) -> TensorHandle:
        """All parameters as one vector of run-time length, for an optimizer's equations."""
        with self._at(None):
            return self._declare(name, (axis,), Role.PARAMETER, "parameter")

    def state(self, name: str, *axes: Axis, place: str | None = None) -> TensorHandle:
        """A vector that an optimizer keeps from step to step; it starts at zero."""
        with self._at(place):
            return self._declare(name, axes, Role.STATE, "state")

    def hyper(self, name: str, default: float | None = None, *, place: str | None = None) -> TensorHandle:
        """A scalar that is given anew at each step: a learning rate, the step count."""
        with self._at(place):
            return self._declare(name, (), Role.HYPER, "hyper-parameter", default=default)

    # Equations

    def define(self, left: Any, expression: Any, *, where: Any = None, place: str | None = None) -> TensorHandle:
        """The equation ``left = expression``, where all the relations of `where` hold (elements elsewhere are 0).

        `left` is text ("z[b, k]") or an element (``h[b, t + 1, k]``). The indices on the left are free; every other
        index must be bound by a sum or another reduction.
        """
        with self._at(place):
            if isinstance(left, TensorHandle):
                left = left._sympy_()
            element = left if isinstance(left, Element) else read_left_side(left, self.axes)
            if element.tensor not in self._tensors:
                if self._defined(element.tensor):
                    raise SpecError(f"'{element.tensor}' is not a tensor", remedy="choose another name")
                self._declare(element.tensor, _axes_of(element), Role.ACTIVATION, "tensor")
            definition = Definition(
                element.tensor,
                element.subscripts,
                to_expression(expression, f"an expression for '{element.tensor}'"),
                to_relations(where),
                self._place or "",
                self._layer,
            )
            check_definition(definition, self._axes, self._tensors)
            self._definitions.append(definition)
            return self.tensors[element.tensor]

    def output(self, *outputs: TensorHandle, place: str | None = None) -> None:
        """What ``predict`` returns, in this order. Without a call, the tensor defined last, other than the loss."""
        with self._at(place):
            for handle in outputs:
                check_declared(handle, self._tensors, "output")
                if handle.name not in self._outputs:
                    self._outputs.append(handle.name)

    def loss(self, value: Any, *, place: str | None = None) -> TensorHandle:
        """What training makes small: a scalar expression, defined under the name ``loss``, or a scalar handle."""
        with self._at(place):
            if self._loss:
                raise SpecError(
                    f"the model has a loss already: '{self._loss}'", remedy="add the two into one expression"
                )
            if isinstance(value, TensorHandle):
                check_declared(value, self._tensors, "loss")
                if value.rank:
                    inside = ", ".join(a.name for a in value.axes)
                    raise ShapeError(
                        f"the loss is a scalar, but '{value.name}' has axes ({inside})",
                        remedy=f"write mean({value.name}[{inside}], {inside})",
                    )
                name = value.name
            else:
                name = fresh_name("loss", self._tensors)
                expression = to_expression(value, "an expression for the loss")
                free = sorted(str(a) for a in expression.free_symbols if isinstance(a, Axis))
                if free:
                    raise ShapeError(
                        f"the loss has a free index: {', '.join(free)}",
                        remedy=f"write mean(.., {', '.join(free)}) or sum(.., {', '.join(free)})",
                    )
                self.define(Element(name), expression, place=self._place)
            self._loss = name
            return self.tensors[name]

    def optimizer(self, rule: Any, *, place: str | None = None) -> None:
        """How training moves the parameters: ``Adam(learning_rate=1e-3)``."""
        with self._at(place):
            if not hasattr(rule, "program"):
                raise SpecError(
                    f"expected an optimizer such as Adam(learning_rate=1e-3), found {type(rule).__name__} {rule!r}"
                )
            self.optimizer_rule = rule

    # Layers

    def apply(self, function: Any, tensor: TensorHandle, name: str = "") -> TensorHandle:
        """Define a tensor by applying a function of the equation language to every element of `tensor`."""
        with self._at(None):
            check_declared(tensor, self._tensors, "argument")
            if not isinstance(function, Function):
                raise SpecError(f"expected a function such as tanh, found {function!r}")
            target = name or self.fresh(function.name)
            return self.define(Element(target, *tensor.axes), function.on_element(tensor))

    @contextmanager
    def layer(self, name: str, kind: str) -> Iterator[str]:
        """Inside it, what is declared belongs to a layer; gives the layer's name, made from `kind` if it has none."""
        with self._at(None):
            if name in self._layers:
                raise SpecError(f"layer name '{name}' is used twice", remedy="give each layer a name of its own")
            name = check_name(name, "layer") if name else self.fresh(kind)
            self._layers[name] = None
            outer, self._layer = self._layer, f"{self._layer}.{name}" if self._layer else name
            try:
                yield name
            except SymbpError as error:
                raise error.at(f"{self._place}: layer '{self._layer}'") from None
            finally:
                self._layer = outer

    def fresh(self, hint: str) -> str:
        """A name after `hint` that nothing in the model has."""
        return fresh_name(hint, {**self._tensors, **self._axes, **self._layers})

    # Results

    def declarations(self) -> Declarations:
        """What has been declared so far, frozen."""
        return Declarations(
            self.name, dict(self._axes), dict(self._tensors), tuple(self._definitions), tuple(self._outputs), self._loss
        )

    def program(self) -> Program:
        """The equations in the form that the compiler works on. Raises SpecError or ShapeError."""
        return verify(lower_model(self.declarations()), "the front end")

    def update(self) -> Program | None:
        """The optimizer's equations over one flat axis of all parameters; None without an optimizer."""
        if self.optimizer_rule is None:
            return None
        program: Program = self.optimizer_rule.program()
        return program

    def __repr__(self) -> str:
        return f"<Model {self.name}: {len(self._tensors)} tensors, {len(self._definitions)} equations>"

    # Checks

    @contextmanager
    def _at(self, place: str | None) -> Iterator[None]:
        """Errors raised inside it tell where the user's line is; calls inside calls keep the outermost place."""
        if self._place is not None:
            yield
            return
        self._place = place or caller()
        try:
            yield
        except SymbpError as error:
            raise error.at(self._place or "") from None
        finally:
            self._place = None

    def _declare(self, name: str, axes: tuple[Axis, ...], role: Role, what: str, **fields: Any) -> TensorHandle:
        self._check_new_name(name, what)
        for axis in axes:
            self._check_axis(axis, f"{what} '{name}'")
        # By name: SymPy's cache may have put an equal axis of an earlier model, of another size, into an expression.
        own = tuple(self.axes[axis.name] for axis in axes)
        self._tensors[name] = TensorDeclaration(name, own, role, place=self._place or "", layer=self._layer, **fields)
        self.tensors[name] = TensorHandle(self, name, own)
        return self.tensors[name]

    def _defined(self, name: str) -> str:
        """What a name is taken by, in words; empty if it is free."""
        if name in self._tensors:
            return f"a tensor of the model ({self._tensors[name].place})"
        if name in self._axes:
            return f"an axis of the model ({self._axes[name].place})"
        return "a run-time size of the model" if any(name == s.name for s in self.sizes.values()) else ""

    def _check_new_name(self, name: str, what: str) -> None:
        if not isinstance(name, str):
            raise SpecError(f"{what} name must be text, found {name!r}")
        check_name(name, what)
        if what in ("input", "parameter") and name in FUNCTIONS:
            raise SpecError(
                f"{what} name '{name}' is the name of a function of equations", remedy="choose another name"
            )
        taken = self._defined(name)
        if taken:
            raise SpecError(f"{what} name '{name}' is taken: it is {taken}", remedy="choose another name")
        if what == "axis":
            return
        for other in self._tensors:
            if other.lower() == name.lower():
                raise SpecError(
                    f"{what} names '{other}' and '{name}' differ only by case", remedy="choose names that read apart"
                )

    def _check_axis(self, axis: Any, where: str) -> None:
        if not isinstance(axis, Axis):
            raise SpecError(
                f"{where} is declared over {type(axis).__name__} {axis!r}, expected axes",
                remedy=f"declare an axis first: j = model.axis('j', {axis if isinstance(axis, int) else 64})",
            )
        if axis.name not in self._axes:
            raise SpecError(
                f"{where} runs over axis '{axis}', which this model does not have",
                remedy=did_you_mean(axis.name, self._axes),
            )

    def _extent(self, extent: Any, name: str) -> tuple[sp.Expr, Affine]:
        """An extent as users write it, as an expression and in the arithmetic of the IR."""
        if isinstance(extent, str):
            if not extent.isidentifier():
                raise ShapeError(
                    f"axis '{name}' has extent {extent!r}, expected the name of a run-time size such as 'batch'"
                )
            size = Extent(check_name(f"n_{extent}", "size"))
            if size.name in self._tensors or size.name in self._axes:
                raise SpecError(f"size name '{size.name}' is taken by a tensor or an axis", remedy="rename one of them")
            self.sizes.setdefault(extent, size)
            return size, Affine.of(Size(size.name))
        if isinstance(extent, Axis):
            self._check_axis(extent, f"axis '{name}'")
            return extent.size, self._axes[extent.name].extent
        if isinstance(extent, sp.Expr) and not isinstance(extent, sp.Number):
            affine = lower_integer(extent, _no_index, _no_element, "extent")
            if is_nonnegative(-affine):
                raise ShapeError(f"axis '{name}' has extent {affine}, which is never positive")
            return extent, affine
        if isinstance(extent, bool) or not isinstance(extent, int | sp.Integer):
            raise ShapeError(
                f"axis '{name}' has extent {extent!r}, expected a positive integer, the name of a run-time size "
                "or another axis"
            )
        if extent < 1:
            raise ShapeError(f"axis '{name}' has extent {extent}, expected at least 1")
        if extent > LARGEST_EXTENT:
            raise ShapeError(f"axis '{name}' has extent {extent}, expected at most {LARGEST_EXTENT}")
        return sp.Integer(int(extent)), Affine.of(int(extent))


def _axes_of(element: Element) -> tuple[Axis, ...]:
    """Names for the axes of a tensor that its equation declares: an index each, for a constant the next letter free."""
    axes: list[Axis] = []
    for subscript in element.subscripts:
        inside = sorted(subscript.atoms(Axis), key=lambda a: str(a.name))
        if not inside:
            raise SpecError(
                f"'{element.tensor}' is defined first at {element}, so axis {len(axes)} has no name",
                remedy="declare it before: model.variable(name, axes..)",
            )
        axes.append(inside[0])
    return tuple(axes)


def _no_index(axis: Axis) -> Affine:
    raise ShapeError(f"an extent mentions the index '{axis}'", remedy=f"write {axis}.size for its extent")


def _no_element(element: Element) -> Any:
    raise ShapeError(f"an extent mentions the tensor element {element}", remedy="use sizes and integers only")
