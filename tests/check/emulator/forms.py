"""Functions of a number and of its place, in every form of Python that kernels may use; Numba compiles them as well."""

import math

import numpy as np


def nested_conditions(x, i):
    if x > 0:
        if i % 2 == 0:
            y = x + x
        elif i % 3 == 0:
            y = x * x
        else:
            y = -x
        y = y + type(x)(1)
    else:
        y = type(x)(i)
    return y


def several_returns(x, i):
    if x > 1:
        return x
    if i % 5 == 0:
        if x < -1:
            return -x
        return type(x)(7)
    return x * x


def return_inside_a_loop(x, i):
    total = type(x)(0)
    for k in range(i):
        total += x
        if total > 3:
            return total
        if k == 9:
            return type(x)(k)
    return -total


def loop_bounds_of_each_lane(x, i):
    total = type(x)(0)
    for k in range(i % 3, i, i % 4 + 1):
        total += x * type(x)(k)
    return total


def loop_downwards(x, i):
    total = type(x)(0)
    for k in range(i, -1, -2):
        total = total * type(x)(0.5) + type(x)(k)
    return total


def loops_in_loops(x, i):
    total = type(x)(0)
    for k in range(i % 4):
        for j in range(k):
            if j == i % 3:
                continue
            if j > 2:
                break
            total += x / type(x)(j + k + 1)
        total -= type(x)(k)
    return total


def while_collatz(x, i):
    n = i + 1
    steps = 0
    while n != 1:
        if n % 2 == 0:
            n //= 2
        else:
            n = 3 * n + 1
        steps += 1
    return type(x)(steps) + x


def while_true(x, i):
    k = 0
    while True:
        k += 1
        if k * k > i:
            break
        if k % 2 == 0:
            continue
        x = x + type(x)(k)
    return x


def loop_variable_afterwards(x, i):
    k = -1
    for k in range(i % 5):
        if k == 3:
            break
    return type(x)(k)


def conditional_expressions(x, i):
    return (x if x > 0 else -x) + (type(x)(i) if i % 3 else (type(x)(1) if x < -1 else type(x)(2)))


def logic(x, i):
    a = x > 0 and i % 2 == 0
    b = x < -1 or (i % 3 == 0 and not x > 1)
    c = 0 < i < 20
    return type(x)(1 if a else 0) + type(x)(2 if b else 0) + type(x)(4 if c and (a or b) else 0)


def swaps(x, i):
    a, b = x, type(x)(i)
    for _ in range(i % 4):
        a, b = b, a + b
    a = b = a + b
    return a - b * x


def tuple_of_constants(x, i):
    for distance in (16, 8, 4, 2, 1):
        if distance <= i:
            x = x * type(x)(0.75) + type(x)(distance)
    return x


def rounding(x, i):
    y = x * type(x)(1.1) + type(x)(0.3)
    z = y / (x + type(x)(5.5)) - y * y * y
    return z + type(x)(i) / type(x)(3)


def double_by_a_literal(x, i):
    """Computed in float64 by Numba's rules, so it must be here."""
    return type(x)((x * 0.1 + i) / 3)


def whole_division(x, i):
    k = i - 20
    return type(x)(1000 * (k // 7) + 10 * (k % 7) + k // -3 + k % -3)


def bits(x, i):
    k = (i << 3) ^ (i >> 1) | 5
    return type(x)((k & 0xFF) + (~i) + (-i))


def wrapped_words(x, i):
    word = np.uint32(i) * np.uint32(0xD2511F53)
    short = np.uint32(word)
    turned = (short << np.uint32(7)) | (short >> np.uint32(25))
    return type(x)(np.uint32(turned) % np.uint32(1000)) + type(x)(word >> np.uint64(40))


def wrapped_double_words(x, i):
    word = (np.uint64(i) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return type(x)(word >> np.uint64(44))


def conversions(x, i):
    return type(x)(int(x * type(x)(10))) + type(x)(np.int32(i * 3000000000) % 100) + type(x)(np.float64(x) + 0.125)


def powers(x, i):
    return x**2 + abs(x**3) + (abs(x) + type(x)(1)) ** type(x)(0.5)


def extremes(x, i):
    return min(x, type(x)(1)) + max(x, type(x)(-1)) + abs(x) + type(x)(max(i, 7) - min(i, 5, 9))


def divisions_by_zero(x, i):
    zero = x - x
    return (x / zero) if i % 2 == 0 else zero / zero


def infinite(x, i):
    y = x + type(x)(math.inf)
    return type(x)(1) if y > type(x)(1e30) else x


def negation(x, i):
    flag = not (x > 0)
    return -x if flag else +x


FORMS = [
    value for value in list(globals().values()) if callable(value) and getattr(value, "__module__", "") == __name__
]
