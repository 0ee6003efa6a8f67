"""Random contractions: subscripts, extents, and operands whose axes lie in any order in memory, with gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

Array = np.ndarray[Any, Any]

PRODUCTS = [
    "bj,jk->bk",
    "jb,jk->bk",
    "bj,kj->bk",
    "jb,kj->bk",
    "bj,jk->kb",
    "bthe,bshe->bhts",
    "bhts,bshe->bthe",
    "bhts,bthe->bshe",
    "btl,btqk->lqk",
    "bl,lqk->bqk",
    "btj,jk->btk",
    "bi,bi->b",
    "bi,bi->",
    "b,k->bk",
    "bj,j->b",
    "abcd,dcef->abef",
    "abcd,cbef->adef",
    "pqab,qpbc->pqac",
    "abcdwxy,cwaxbyz->dz",
]


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, list[Array], Array]:
    """Subscripts, operands with axes in any order in memory and gaps between them, and the same for the result."""
    subscripts = draw(st.sampled_from(PRODUCTS))
    sources, _, target = subscripts.partition("->")
    left, right = sources.split(",")
    extents = {letter: draw(st.sampled_from([1, 2, 3, 4, 8])) for letter in dict.fromkeys(left + right)}
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = []
    for letters in (left, right, target):
        shape = [extents[letter] for letter in letters]
        order = draw(st.permutations(range(len(shape))))
        gaps = [draw(st.sampled_from([0, 0, 1, 4])) for _ in shape]
        memory = np.asarray(random.standard_normal([shape[axis] + gaps[axis] for axis in order]))
        window = memory[(*(slice(0, shape[axis]) for axis in order), ...)]
        arrays.append(window.transpose(np.argsort(order)) if shape else window)
    return subscripts, arrays[:2], arrays[2]
