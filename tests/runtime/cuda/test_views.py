"""Views, subscripts and wide accesses: what a GPU would do for them, read off the PTX."""

# The kernels of this file take their annotations as objects, not as text.

import re

import numpy as np
from numba import cuda

from symbp.runtime.cuda.kernel import Doubles, Integers, Size, pointer, thread_kernel
from symbp.runtime.cuda.views import load2, load4, store2, store4, unravel, view
from tests.runtime.cuda.machine_code import compiled, instructions, numba_cuda

Reals = pointer(np.float32)

pytestmark = numba_cuda


@thread_kernel
def shift(params: Reals, workspace: Reals, n_batch: Size):
    c = view(params, 2048, (32,))
    z = view(workspace, 0, (n_batch, 32))
    h = view(workspace, 32 * n_batch, (n_batch, 32))
    point = cuda.grid(1)
    if point >= 32 * n_batch:
        return
    b, k = unravel(point, (n_batch, 32))
    h[b, k] = z[b, k] + c[k]


def test_a_map_is_a_handful_of_instructions() -> None:
    ptx = compiled(shift)
    found = instructions(ptx)
    assert [name for name in found if name.startswith(("ld.global", "st.global"))] == [
        "ld.global.f32",
        "ld.global.f32",
        "st.global.f32",
    ]
    assert "[%rd14+8192]" in re.sub(r"%rd\d+\+8192", "%rd14+8192", ptx)  # the start of c is part of the address
    # One comparison, that of the guard: no subscript is looked at, and the constant extent is not divided by.
    assert len([name for name in found if name.startswith(("setp", "selp"))]) == 1
    assert not any(name.startswith(("div", "rem", "call")) for name in found)
    assert len(found) <= 28, found


@thread_kernel
def gather(table: Reals, labels: Integers, out: Reals, n_batch: Size, n_rows: Size):
    rows = view(table, 0, (n_rows, n_batch, 3))
    label = view(labels, 0, (n_batch, 2))
    y = view(out, 0, (n_batch,))
    point = cuda.grid(1)
    if point >= n_batch:
        return
    y[point] = rows[label[point, 1], point, 2]


def test_a_subscript_that_was_read_is_not_wrapped_around() -> None:
    found = instructions(compiled(gather))
    assert len([name for name in found if name.startswith(("setp", "selp", "shr"))]) == 1


@thread_kernel
def take_apart(out: Integers, i: Size, n: Size, m: Size):
    o = view(out, 0, (4,))
    a, b, c, d = unravel(i, (m, n, 7, m))
    o[0], o[1], o[2], o[3] = a, b, c, d


def test_subscripts_are_divided_in_32_bits() -> None:
    found = instructions(compiled(take_apart))
    assert not any(re.match(r"(div|rem)\.[su]64", name) for name in found)
    assert {name for name in found if name.startswith(("div", "rem"))} <= {"div.u32", "rem.u32"}
    assert "div.u32" in found


@thread_kernel
def forms(reals: Reals, doubles: Doubles, integers: Integers, n: Size):
    """Every way to write and read an element."""
    x = view(reals, 0, (n, 5))
    y = view(doubles, n, (n,))
    z = view(integers, 2 * n, (3, 2, n))
    x[0, 0] = 1.0
    x[1, cuda.laneid] += 2
    y[0] = x[0, 1]
    y[n - 1] -= z[2, 1, 0]
    z[0, 0, 0] = n
    z[z[1, 1, n - 1], 0, 0] += 3
    cuda.atomic.add(z, (0, 1, 2), 5)
    cuda.atomic.add(y, 3, 0.5)
    cuda.atomic.max(x, (2, 3), np.float32(4.0))


def test_elements_are_read_written_and_added_to() -> None:
    found = instructions(compiled(forms))
    assert found.count("atom.global.add.u64") == 1
    assert found.count("atom.global.add.f64") == 1
    assert "st.global.f64" in found
    assert "st.global.u64" in found or "st.global.s64" in found


@thread_kernel
def copy_wide(source: Reals, target: Reals, n: Size):
    shared = cuda.shared.array((4, 256), np.float32, alignment=16)
    i = cuda.threadIdx.x
    a, b, c, d = load4(source, 4 * i)
    store4(shared, 4 * i, a, b, c, d)
    cuda.syncthreads()
    a, b, c, d = load4(shared, 4 * (255 - i))
    store4(view(target, 0, (n, 4)), 4 * i, d, c, b, a)
    e, f = load2(target, 2 * n)
    store2(shared, 2 * i, e, f)


def test_four_reals_go_in_one_access() -> None:
    found = [name for name in instructions(compiled(copy_wide)) if re.match(r"(ld|st)\.(global|shared)", name)]
    assert found[:4] == ["ld.global.v4.f32", "st.shared.v4.f32", "ld.shared.v4.f32", "st.global.v4.f32"]
    assert found[4:] == ["ld.global.v2.f32", "st.shared.v2.f32"]


@thread_kernel
def copy_wide_doubles(source: Doubles, target: Doubles):
    i = cuda.threadIdx.x
    a, b = load2(source, 2 * i)
    store2(target, 2 * i, b, a)
    c, d, e, f = load4(source, 4 * i)
    store4(target, 4 * i, f, e, d, c)


def test_two_doubles_go_in_one_access() -> None:
    found = [name for name in instructions(compiled(copy_wide_doubles)) if re.match(r"(ld|st)\.global", name)]
    assert found.count("ld.global.v2.f64") == 3
    assert found.count("st.global.v2.f64") == 3
    assert len(found) == 6
