"""CUDA kernels without a GPU: their Python source run for all threads at once, with every access checked.

    device = attach(net)                    # `net`: a generated package of target "cuda"
    loss, grads = net.loss_and_grad(params, x, label)

An :class:`EmulatorError` names the kernel, the line, the thread and the place of

- a subscript outside its axis, a view outside its array, a 128-bit access that is not aligned;
- a race: two threads, one place, one of them writing, and no barrier between them that orders the two;
- a barrier or shuffle that not all threads of the block or warp reach;
- a read of memory, shared memory, a local array or a variable that was never written;
- wrong arguments, a division of whole numbers by zero, a captured program that does not repeat itself.

Numbers are typed as Numba types them (``float32 * 2`` is float64), and float arithmetic rounds as IEEE 754 says. A GPU
fuses multiplications and additions and has its own exp and log, so last digits differ there. Only the branches and
addresses of the data at hand are seen, and one order of what atomic operations on floats add up.
"""

from symbp.check.emulator.attach import attach, emulated
from symbp.check.emulator.device import EmulatedDevice
from symbp.check.emulator.errors import EmulatorError, UnsupportedError

__all__ = ["EmulatedDevice", "EmulatorError", "UnsupportedError", "attach", "emulated"]
