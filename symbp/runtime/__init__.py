"""What generated modules are given: flat modules that import only NumPy, Numba and ``symbp.errors``.

A generated package carries a copy of those it uses, so that it runs where symbp is not installed. For the copy to work,
imports between these modules are written one to a line as ``from symbp.errors import ...`` or
``from symbp.runtime.<module> import ...``; the copy turns both into relative imports.
"""
