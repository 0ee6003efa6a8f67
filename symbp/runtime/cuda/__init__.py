"""What generated CUDA modules are given: device arrays, launches, and the functions that kernels are written with.

Importing it needs NumPy alone; numba-cuda and cuda-core are asked for when a kernel is compiled or a GPU is opened.
"""
