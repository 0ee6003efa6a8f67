"""The text of CUDA kernels and host programs, construct by construct, from small plans made by hand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from textwrap import dedent

import pytest

from symbp.codegen import CUDA, emit
from symbp.ir import Affine, Body, DType, Index, Read, Role, Size, Tensor
from symbp.ir.affine import ONE, ZERO
from symbp.ir.nodes import (
    BEST,
    TOTAL,
    Barrier,
    Bound,
    Combine,
    Contract,
    Dealt,
    Factor,
    Fill,
    If,
    Largest,
    Loop,
    Node,
    Note,
    Once,
    SetIndex,
    Settle,
    Share,
    Spread,
    Store,
    Track,
    Update,
)
from symbp.ir.plan import Buffer, Kernel, Launch, Memory, ParameterSlot, Plan, Procedure, Repeat, Step, Team
from symbp.ir.statement import Domain, NonNegative, Range, Reduction, Statement

b, c, j, k, s, t = map(Index, "bcjkst")
N, T = Size("n_batch"), Size("n_time")


def dealt(index: Index, stop: Affine | Size | int, lower: Affine | int = 0) -> Dealt:
    return Dealt(index, Bound((Affine.of(lower),)), Bound((Affine.of(stop),)))


def at(name: str, *subscripts: Affine | Index | int) -> Read:
    return Read(name, tuple(map(Affine.of, subscripts)))


def add(target: Read, value: Read) -> Store:
    return Store(target, Body.of(value), Update.ADD)


SUM = (Store(TOTAL, Body.of(0)),)
TENSORS = (
    Tensor("x", (Affine.of(N), Affine.of(10)), Role.INPUT),
    Tensor("label", (Affine.of(N),), Role.INPUT, dtype=DType.INT),
    Tensor("seq", (Affine.of(N), Affine.of(T), Affine.of(8)), Role.INPUT),
    Tensor("scale", (), Role.INPUT),
    Tensor("W", (Affine.of(10), Affine.of(4)), Role.PARAMETER),
    Tensor("offset", (), Role.PARAMETER),
    Tensor("z", (Affine.of(N), Affine.of(10)), Role.ACTIVATION),
    Tensor("y", (Affine.of(N), Affine.of(4)), Role.ACTIVATION),
    Tensor("row", (Affine.of(N),), Role.ACTIVATION),
    Tensor("mean", (), Role.ACTIVATION),
    Tensor("choice", (Affine.of(N),), Role.ACTIVATION, dtype=DType.INT),
    Tensor("h", (Affine.of(N), T + 1, Affine.of(8)), Role.ACTIVATION),
    Tensor("W_bar", (Affine.of(10), Affine.of(4)), Role.ADJOINT),
    Tensor("W_bar_largest", (ONE,), Role.ADJOINT),
    Tensor("W_bar_sums", (Affine.of(10), Affine.of(4)), Role.ADJOINT, dtype=DType.INT),
)
PLACES = {
    "W": Buffer("W", Memory.PARAMETERS, ZERO),
    "offset": Buffer("offset", Memory.PARAMETERS, Affine.of(40)),
    "z": Buffer("z", Memory.WORKSPACE, ZERO),
    "y": Buffer("y", Memory.WORKSPACE, N * 10),
    "row": Buffer("row", Memory.WORKSPACE, N * 14),
    "mean": Buffer("mean", Memory.WORKSPACE, N * 15),
    "h": Buffer("h", Memory.WORKSPACE, N * 15 + 1),
    "W_bar_largest": Buffer("W_bar_largest", Memory.WORKSPACE, N * 15),
    "choice": Buffer("choice", Memory.POSITIONS, ZERO),
    "W_bar_sums": Buffer("W_bar_sums", Memory.POSITIONS, Affine.of(N)),
    "W_bar": Buffer("W_bar", Memory.GRADIENTS, ZERO),
}


def kernel(team: Team, points: Iterable[Dealt], *body: Node, uses: str = "z row") -> Kernel:
    names = uses.split()
    inputs = tuple(n for n in names if n not in PLACES)
    return Kernel("work", (), team, tuple(points), body, inputs, tuple(PLACES[n] for n in names if n in PLACES))


def file_of(*steps: Step, tensors: tuple[Tensor, ...] = TENSORS, dtype: str = "float32") -> str:
    views = tuple(PLACES.values())
    inputs = tuple(x for x in tensors if x.role is Role.INPUT)
    names = tuple(x.name for x in inputs)
    procedure = Procedure("predict_into", "Evaluate the model.", names, views, (), (), steps=steps)
    slots = (ParameterSlot("W", (10, 4), 0, None), ParameterSlot("offset", (), 40, None))
    outputs = (Tensor("out", (ONE,), Role.ACTIVATION),)
    plan = Plan("small", inputs, outputs, "", slots, (procedure,), {x.name: x for x in tensors}, {"predict": {}})
    text = emit(plan, CUDA, dtype=dtype, spec_hash="0" * 64, equations="", standalone=False)["kernels.py"]
    ast.parse(text)
    return text


def function(text: str, name: str) -> str:
    """The source of one function, without its docstring's blank surroundings."""
    return next(part for part in re.split(r"\n\n\n", text) if f"def {name}(" in part).strip()


def source(made: Kernel, **options: str) -> str:
    return function(file_of(Launch(made), **options), "work")  # type: ignore[arg-type]


def program(*steps: Step) -> str:
    return function(file_of(*steps), "predict_into")


def expect(found: str, wanted: str) -> None:
    assert found == dedent(wanted).strip()


def test_a_thread_for_each_point() -> None:
    made = kernel(Team.THREAD, [dealt(b, N), dealt(k, 10)], Store(at("z", b, k), Body.of(at("row", b))))
    expect(
        source(made),
        '''
        @thread_kernel
        def work(workspace: Reals, n_batch: Size):
            """One thread for each (b, k)."""
            z = view(workspace, 0, (n_batch, 10))
            row = view(workspace, 14 * n_batch, (n_batch,))

            point = cuda.grid(1)
            if point >= 10 * n_batch:
                return
            b, k = unravel(point, (n_batch, 10))
            z[b, k] = row[b]
        ''',
    )


def test_points_of_one_axis_need_no_count() -> None:
    text = source(kernel(Team.THREAD, [dealt(b, N)], Store(at("row", b), Body.of(0)), uses="row"))
    assert "    b = cuda.grid(1)\n    if b >= n_batch:\n        return\n    row[b] = real(0.0)" in text


def test_points_that_begin_elsewhere() -> None:
    one = kernel(Team.THREAD, [dealt(b, N - 1, 2)], Store(at("row", b), Body.of(0)), uses="row")
    lines = "    point = cuda.grid(1)\n    if point >= n_batch - 3:\n        return\n    b = point + 2\n"
    assert lines in source(one)
    two = kernel(Team.THREAD, [dealt(b, N, 1), dealt(k, 9)], Store(at("z", b, k), Body.of(0)), uses="z")
    assert "    b, k = unravel(point, (n_batch - 1, 9))\n    b += 1\n" in source(two)


def test_a_warp_for_each_row() -> None:
    made = kernel(
        Team.WARP,
        [dealt(b, N)],
        Store(BEST, Body.of(at("z", b, 0))),
        Share((dealt(k, 10),), (Track(BEST, Body.of(at("z", b, k))),)),
        Combine(BEST, Reduction.MAX),
        Once((Store(at("row", b), Body.of(BEST)),)),
        Barrier(),
        Share((dealt(k, 10, 1),), (Store(at("z", b, k), Body.of(at("row", b))),)),
    )
    expect(
        source(made),
        '''
        @warp_kernel
        def work(workspace: Reals, n_batch: Size):
            """One warp for each b."""
            z = view(workspace, 0, (n_batch, 10))
            row = view(workspace, 14 * n_batch, (n_batch,))

            b = cuda.grid(1) // WARP
            if b >= n_batch:
                return
            lane = cuda.laneid
            best = z[b, 0]
            for k in range(lane, 10, WARP):
                best = maximum(best, z[b, k])
            best = warp_max(best)
            if lane == 0:
                row[b] = best
            cuda.syncwarp()
            for k in range(1 + lane, 10, WARP):
                z[b, k] = row[b]
        ''',
    )


def test_a_block_shares_several_axes_as_one_count() -> None:
    body = (*SUM, Share((dealt(b, N), dealt(k, 10)), (add(TOTAL, at("z", b, k)),)), Combine(TOTAL, Reduction.SUM))
    made = kernel(Team.BLOCK, [], *body, Once((Store(at("mean"), Body.of(TOTAL)),)), uses="z mean")
    expect(
        source(made),
        '''
        @block_kernel
        def work(workspace: Reals, n_batch: Size):
            """One block."""
            z = view(workspace, 0, (n_batch, 10))
            mean = view(workspace, 15 * n_batch, (1,))

            rank = cuda.threadIdx.x
            total = real(0.0)
            for i in range(rank, 10 * n_batch, BLOCK):
                b, k = unravel(i, (n_batch, 10))
                total += z[b, k]
            total = block_sum(total)
            if rank == 0:
                mean[0] = total
        ''',
    )


def test_the_first_of_several_axes_may_begin_and_stop_anywhere() -> None:
    rows = Dealt(b, Bound((c * 16, Affine.of(2))), Bound((Affine.of(N), c * 16 + 16)))
    share = Share((rows, dealt(k, 9, 1)), (add(TOTAL, at("z", b, k)),))
    made = kernel(Team.BLOCK, [dealt(c, 4)], *SUM, share, Combine(TOTAL, Reduction.SUM), uses="z")
    assert """\
    c = cuda.blockIdx.x
    rank = cuda.threadIdx.x
    total = real(0.0)
    first, stop = max(16 * c, 2), min(n_batch, 16 * c + 16)
    for i in range(rank, (stop - first) * 8, BLOCK):
        b, k = unravel(i, (stop - first, 8))
        b += first
        k += 1
        total += z[b, k]
    total = block_sum(total)""" in source(made)


def test_one_axis_may_begin_and_stop_anywhere() -> None:
    rows = Dealt(b, Bound((c * 16,)), Bound((Affine.of(N), c * 16 + 16)))
    made = kernel(Team.BLOCK, [dealt(c, 4)], *SUM, Share((rows,), (add(TOTAL, at("row", b)),)), uses="row")
    assert "    for b in range(16 * c + rank, min(n_batch, 16 * c + 16), BLOCK):\n" in source(made)


def test_a_column_for_each_point() -> None:
    made = kernel(
        Team.COLUMN,
        [dealt(j, 10), dealt(k, 4)],
        *SUM,
        Share((dealt(b, N),), (add(TOTAL, at("y", b, k)),)),
        Combine(TOTAL, Reduction.SUM),
        Once((Store(at("W_bar", j, k), Body.of(TOTAL)),)),
        uses="y W_bar",
    )
    expect(
        source(made),
        '''
        @column_kernel
        def work(workspace: Reals, grads: Reals, n_batch: Size):
            """One column of threads for each (j, k)."""
            y = view(workspace, 10 * n_batch, (n_batch, 4))
            W_bar = view(grads, 0, (10, 4))

            point = cuda.blockIdx.x * WARP + cuda.laneid
            # Columns beyond the last take its point as well: all threads must reach the barriers.
            j, k = unravel(min(point, 39), (10, 4))
            rank = cuda.threadIdx.x // WARP
            total = real(0.0)
            for b in range(rank, n_batch, COLUMN):
                total += y[b, k]
            total = column_sum(total)
            if rank == 0 and point < 40:
                W_bar[j, k] = total
        ''',
    )
    assert "    k = min(point, 3)\n" in source(
        kernel(Team.COLUMN, [dealt(k, 4)], Once((Store(at("W_bar", 0, k), Body.of(0)),)), uses="W_bar")
    )


@pytest.mark.parametrize(
    ("team", "barrier"),
    [(Team.WARP, "cuda.syncwarp()"), (Team.BLOCK, "cuda.syncthreads()"), (Team.COLUMN, "cuda.syncthreads()")],
)
def test_barriers(team: Team, barrier: str) -> None:
    store = Store(at("z", b, k), Body.of(0))
    made = kernel(team, [dealt(b, N)], Share((dealt(k, 10),), (store,)), Barrier(), Once((store,)), uses="z")
    assert source(made).count(barrier) == 1


def test_a_barrier_stands_above_the_equation_that_waits() -> None:
    ranges = (Range(b, ZERO, Affine.of(N)),)
    note = Note(Statement("row", (Affine.of(b),), (b,), Body.of(at("z", b, 0)), Domain(ranges)))
    made = kernel(Team.WARP, [dealt(b, N)], note, Barrier(), Once((Store(at("row", b), Body.of(at("z", b, 0))),)))
    assert "    cuda.syncwarp()\n    # row[b] = z[b, 0]\n    if lane == 0:\n        row[b] = z[b, 0]" in source(made)


def test_sums_of_whole_numbers() -> None:
    place, value = (Affine.of(at("label", b)), Affine.of(k)), Body.of(at("y", b, k))
    find = kernel(Team.THREAD, [dealt(b, N), dealt(k, 4)], Largest("W_bar_largest", value), uses="y W_bar_largest")
    assert "    largest(W_bar_largest, y[b, k])" in source(find)
    spread = Spread("W_bar_sums", place, value, "W_bar_largest", N * 4)
    made = kernel(Team.THREAD, find.points, spread, uses="label y W_bar_largest W_bar_sums")
    text = source(made)
    assert "def work(label: Integers, workspace: Reals, positions: Integers, n_batch: Size):" in text
    assert "    spread(W_bar_sums, (label[b], k), y[b, k], W_bar_largest[0], 4 * n_batch)" in text
    flat = Spread("choice", (Affine.of(b),), value, "W_bar_largest", N * 4)
    assert "spread(choice, b, y[b, k]," in source(kernel(Team.THREAD, find.points, flat, uses="y W_bar_largest choice"))
    settle = Settle(at("W_bar", j, k), "W_bar_sums", "W_bar_largest", N * 4, Update.ADD)
    made = kernel(Team.THREAD, [dealt(j, 10), dealt(k, 4)], settle, uses="W_bar_largest W_bar_sums W_bar")
    assert "    W_bar[j, k] += settled(W_bar_sums[j, k], W_bar_largest[0], 4 * n_batch)" in source(made)


def test_places_of_maxima_are_whole_numbers() -> None:
    position = Read("choice_b")
    candidate = Track(BEST, Body.of(at("z", b, k)), position, Affine.of(k))
    made = kernel(
        Team.THREAD,
        [dealt(b, N)],
        Store(BEST, Body.of(at("z", b, 0))),
        Store(position, Body.of(-1)),
        Loop(k, Bound((ZERO,)), Bound((Affine.of(10),)), (candidate,)),
        Store(at("choice", b), Body.of(position)),
        uses="z choice",
    )
    text = source(made)
    assert "    choice_b = -1\n" in text
    assert "            best = value\n            choice_b = k\n    choice[b] = choice_b" in text
    assert "place" not in text


def test_conditions_loops_and_subscripts() -> None:
    down = Loop(t, Bound((ONE,)), Bound((Affine.of(9),)), (Store(at("z", b, t), Body.of(0)),), -1)
    inside = If((NonNegative(b - 2),), (SetIndex(k, b - 2), Store(at("z", b, k), Body.of(at("scale"))), down))
    text = source(kernel(Team.THREAD, [dealt(b, N)], inside, uses="scale z"))
    assert "def work(scale: Reals, workspace: Reals, n_batch: Size):" in text
    assert "    scale = view(scale, 0, (1,))\n" in text
    assert (
        """\
    if b >= 2:
        k = b - 2
        z[b, k] = scale[0]
        for t in range(8, 0, -1):
            z[b, t] = real(0.0)"""
        in text
    )


def test_numbers_in_memory_are_elements() -> None:
    made = kernel(Team.THREAD, [dealt(b, N)], Store(at("row", b), Body.of(at("offset"))), uses="offset row")
    text = source(made)
    assert "    offset = view(params, 40, (1,))\n" in text
    assert "    row[b] = offset[0]" in text


def test_a_kernel_has_the_sizes_that_it_mentions_and_no_others() -> None:
    made = kernel(Team.THREAD, [dealt(j, 10), dealt(k, 4)], Store(at("W_bar", j, k), Body.of(0)), uses="W_bar")
    assert "def work(grads: Reals):" in source(made)
    made = kernel(Team.THREAD, [dealt(b, N)], Store(at("h", b, t, 0), Body.of(0)), uses="h")
    text = source(made)
    assert "def work(workspace: Reals, n_batch: Size, n_time: Size, t: Size):" in text


def test_float64_needs_no_types() -> None:
    made = kernel(Team.THREAD, [dealt(b, N)], Store(at("row", b), Body.of(0)), uses="row")
    text = file_of(Launch(made), dtype="float64")
    assert "row[b] = 0.0" in text
    assert "real = np.float64\nReals = pointer(real)\n" in text


@pytest.mark.parametrize(
    "name", ["cuda", "point", "rank", "lane", "device", "view", "contract", "WARP", "work", "real"]
)
def test_a_tensor_may_have_any_name_of_the_file(name: str) -> None:
    renamed = tuple(Tensor(name, x.shape, x.role) if x.name == "row" else x for x in TENSORS)
    made = kernel(Team.WARP, [dealt(b, N)], Once((Store(at(name, b), Body.of(0)),)), uses="z")
    views = (Buffer(name, Memory.WORKSPACE, ZERO),)
    text = file_of(Launch(Kernel("work", (), made.team, made.points, made.body, (), views)), tensors=renamed)
    assert f"        {name}_2[b] = real(0.0)" in text
    assert "    lane = cuda.laneid\n" in text


@pytest.mark.parametrize("name", ["point", "lane", "WARP", "row", "n_batch", "view"])
def test_an_index_may_have_any_name(name: str) -> None:
    index = Index(name)
    made = kernel(Team.WARP, [dealt(index, N)], Once((Store(at("row", index), Body.of(0)),)), uses="row")
    text = source(made)
    assert f"    i_{name} = cuda.grid(1) // WARP\n" in text
    assert f"One warp for each i_{name}." in text
    assert f"        row[i_{name}] = real(0.0)" in text


def test_a_local_may_not_hide_anything() -> None:
    local = Read("block_sum")
    made = kernel(Team.THREAD, [dealt(b, N)], Store(local, Body.of(0)), Store(at("row", b), Body.of(local)), uses="row")
    assert "    block_sum_2 = real(0.0)\n    row[b] = block_sum_2" in source(made)
    total = Read("total_2")
    taken = (*TENSORS, Tensor("total", (Affine.of(N),), Role.ACTIVATION))
    both = (*SUM, Store(total, Body.of(0)), Store(at("row", b), Body.of(TOTAL)), Store(at("row", b), Body.of(total)))
    text = function(file_of(Launch(kernel(Team.THREAD, [dealt(b, N)], *both, uses="row")), tensors=taken), "work")
    assert "    total_2 = real(0.0)\n    total_2_2 = real(0.0)\n    row[b] = total_2\n    row[b] = total_2_2" in text


# --------------------------------------------------------------------------------------------- where threads must meet


@pytest.mark.parametrize("node", [Barrier(), Combine(TOTAL, Reduction.SUM), Once(()), Share((), ())], ids=repr)
@pytest.mark.parametrize("inside", ["share", "once", "thread"])
def test_what_a_team_does_together_stands_where_all_threads_pass(node: Node, inside: str) -> None:
    around: dict[str, Node] = {"share": Share((dealt(k, 10),), (node,)), "once": Once((node,)), "thread": node}
    made = kernel(Team.THREAD if inside == "thread" else Team.WARP, [dealt(b, N)], around[inside])
    with pytest.raises(AssertionError, match="where not every thread passes"):
        source(made)


def test_a_team_does_not_write_an_element_all_at_once() -> None:
    for node in (
        Store(at("row", b), Body.of(0)),
        Settle(at("W_bar", b, 0), "W_bar_sums", "W_bar_largest", N * 4),
        Loop(k, Bound((ZERO,)), Bound((Affine.of(10),)), (Store(at("z", b, k), Body.of(0)),)),
    ):
        with pytest.raises(AssertionError, match="all threads of a team write one element"):
            source(kernel(Team.WARP, [dealt(b, N)], node))


def test_columns_wait_together() -> None:
    wait = (Share((dealt(b, N),), (add(TOTAL, at("row", b)),)), Combine(TOTAL, Reduction.SUM))
    loops = {
        "own": Loop(j, Bound((ZERO,)), Bound((Affine.of(k),)), wait),
        "common": Loop(j, Bound((ZERO,)), Bound((Affine.of(N),)), wait),
        "condition": If((NonNegative(k - 2),), wait),
    }
    made = {name: kernel(Team.COLUMN, [dealt(k, 4)], *SUM, loop, uses="row") for name, loop in loops.items()}
    source(made["common"])
    for name in ("own", "condition"):
        with pytest.raises(AssertionError, match=r"columns wait in (Loop|If) at points of their own"):
            source(made[name])
    # The threads of a block are one team: all of them have the same point.
    source(kernel(Team.BLOCK, [dealt(k, 4)], *SUM, loops["condition"], uses="row"))


# ------------------------------------------------------------------------------------------------------- host programs


def test_a_launch_passes_what_the_kernel_takes() -> None:
    made = kernel(Team.WARP, [dealt(b, N), dealt(k, 4)], Once((Store(at("y", b, k), Body.of(0)),)), uses="y")
    expect(
        program(Launch(made)),
        '''
        def predict_into(device, x, workspace):
            """Evaluate the model."""
            n_batch = x.shape[0]

            device.launch(work, 4 * n_batch, workspace, n_batch)
        ''',
    )


def test_boxes_that_may_be_empty_twice() -> None:
    """Of two negative extents the product is positive: neither counts then, unless a tensor has that extent."""
    points = [dealt(b, N - 6), dealt(k, T - 4)]
    text = file_of(Launch(kernel(Team.THREAD, points, Store(at("z", b, k), Body.of(0)), uses="z")))
    assert "    if point >= max(n_batch - 6, 0) * max(n_time - 4, 0):\n" in text
    assert "        work, max(n_batch - 6, 0) * max(n_time - 4, 0), workspace, n_batch, n_time\n" in text
    wide = (*TENSORS, Tensor("window", (N - 6,), Role.ACTIVATION))
    text = file_of(Launch(kernel(Team.THREAD, points, Store(at("z", b, k), Body.of(0)), uses="z")), tensors=wide)
    assert "    if point >= n_batch * n_time - 4 * n_batch - 6 * n_time + 24:\n" in text


def test_contractions_slices_and_loops() -> None:
    own = kernel(Team.THREAD, [dealt(b, N)], Store(at("h", b, t, 0), Body.of(0)), uses="h")
    two = Index("k2")
    left = Factor("x", (dealt(b, N), dealt(two, 10)))
    right = Factor("W", (dealt(two, 10), dealt(k, 4)))
    steps = (
        Fill("y"),
        Contract(Factor("y", (dealt(b, N), dealt(k, 4))), left, right, False),
        Repeat(
            t,
            Bound((ZERO,)),
            Bound((Affine.of(T),)),
            (
                Launch(own),
                Contract(
                    Factor("y", (dealt(b, N), dealt(k, 4))),
                    Factor("h", (dealt(b, N), Affine.of(t), dealt(j, 8))),
                    Factor("W", (dealt(j, 8), dealt(k, 4))),
                    True,
                ),
            ),
            -1,
        ),
        Contract(
            Factor("W_bar", (dealt(j, 8), dealt(k, 4))),
            Factor("h", (dealt(b, N), dealt(s, T + 1, 1), dealt(j, 8))),
            Factor("seq", (dealt(b, N), dealt(s, T), dealt(k, 4))),
            False,
        ),
    )
    expect(
        program(*steps),
        '''
        def predict_into(device, params, x, seq, workspace, grads):
            """Evaluate the model."""
            n_batch = x.shape[0]
            n_time = seq.shape[1]
            W = params.view(0, (10, 4))
            y = workspace.view(10 * n_batch, (n_batch, 4))
            h = workspace.view(15 * n_batch + 1, (n_batch, n_time + 1, 8))
            W_bar = grads.view(0, (10, 4))

            device.clear(y)
            contract(device, "bl,lk->bk", x, W, y)
            for t in range(n_time - 1, -1, -1):
                device.launch(work, n_batch, workspace, n_batch, n_time, t)
                contract(device, "bj,jk->bk", h[:, t], W[:8], y, accumulate=True)
            contract(device, "bsj,bsk->jk", h[:, 1:], seq[:, :, :4], W_bar[:8])
        ''',
    )


def test_letters_of_indices() -> None:
    def letters(*names: str) -> str:
        first, inner, last = map(Index, names)
        step = Contract(
            Factor("y", (dealt(first, N), dealt(last, 4))),
            Factor("x", (dealt(first, N), dealt(inner, 10))),
            Factor("W", (dealt(inner, 10), dealt(last, 4))),
            False,
        )
        found = re.search(r'contract\(device, "(.*?)"', program(step))
        assert found
        return found.group(1)

    assert letters("b", "k2", "k") == "bl,lk->bk"
    assert letters("k3", "k2", "k") == "lm,mk->lk"
    assert letters("batch", "B", "b") == "cd,db->cb"
    assert letters("z", "z2", "_q") == "za,ab->zb"


def test_a_long_contraction_keeps_its_letters() -> None:
    """The formatter's comma is not the one between factors."""
    long = Tensor("h", (Affine.of(N), T + 1, Affine.of(8)), Role.ACTIVATION)
    name = "a_hidden_state_with_quite_a_long_name"
    tensors = tuple(Tensor(name, x.shape, x.role) if x == long else x for x in TENSORS)
    step = Contract(
        Factor("W_bar", (dealt(j, 8), dealt(k, 4))),
        Factor(name, (dealt(b, N), dealt(s, T), dealt(j, 8))),
        Factor("seq", (dealt(b, N), dealt(s, T), dealt(k, 4))),
        True,
    )
    text = function(file_of(step, tensors=tensors), "predict_into")
    assert '        "bsj,bsk->jk",\n' in text
    assert f"        {name}[:, :n_time],\n" in text
