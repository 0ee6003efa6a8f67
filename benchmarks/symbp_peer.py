"""Peers for a comparing harness that executes this file in its own namespace.

It must have there: ``peer``, a decorator that registers a function from a workload to a step; ``Step``, the class of
steps; ``HERE``, a folder to write to. A workload has a name and ``init()``, its parameters and data by name.

    symbp          one compiled call per step, as from one's own loop: kernels.train_step_into, or _threads
    symbp_fit      many steps in one compiled call, as in fit: kernels.train_steps_into, or _threads
    symbp_checked  one call of train_step per step: it checks shapes, dtypes and values each time
"""

# ruff: noqa: F821

import inspect
import os
import sys
from pathlib import Path

import numpy as np

if "PEERS_EXTRA" in os.environ:  # the harness's own folder is first on the path, not that of this checkout
    sys.path.insert(0, str(Path(os.environ["PEERS_EXTRA"]).resolve().parents[1]))

from benchmarks.stepping import Stepper, generated, memories
from benchmarks.workloads import WORKLOADS as MODELS

#: The harness's names for what is called otherwise in ours: names that differ only by case are refused.
_NAMES = {"lenet5": {"k1": "c1", "k2": "c2"}}
_EPOCH = {"linreg": 100, "logreg": 100, "tiny_mlp": 100, "deep5": 100, "mlp_mnist": 100}


class SymbpStep(Step):
    """A step of a workload in symbp. Data and weights lie in arrays of the kernels' own from the start."""

    def __init__(self, workload, form="step"):
        parameters, data = workload.init()
        if workload.name in ("lstm_char", "gru_cls"):  # (time, batch, ..): ours are (batch, time, ..)
            data = {name: a if a.ndim == 1 else np.ascontiguousarray(a.swapaxes(0, 1)) for name, a in data.items()}
        self.names = _NAMES.get(workload.name, {})
        ours = MODELS[workload.name]
        net = generated(ours, Path(HERE) / "cache" / "symbp")
        parameters = {self.names.get(n, n): a for n, a in parameters.items()}
        self.stepper = Stepper(net, parameters, data, ours.sizes)
        self.run = self.stepper
        if form == "fit":
            self.steps_per_call = _EPOCH.get(workload.name, 4)
            self.run = self.stepper.epoch(self.steps_per_call)
        elif form == "checked":
            self.run = self.stepper.checked
        if workload.name == "tiny_mlp":
            self.infer = self._checked_inference(net) if form == "checked" else self._inference(net)

    def __call__(self):
        self.run()

    def loss_grads(self):
        loss, gradients = self.stepper.loss_and_gradients()
        return loss, {n: gradients[self.names.get(n, n)] for n in self._canonical()}

    def params(self):
        return {n: np.array(self.stepper.params[self.names.get(n, n)]) for n in self._canonical()}

    def _inference(self, net):
        """One sample in, one float out, by the kernel alone."""
        predict_into, flat = net.kernels.predict_into, self.stepper.params.flat
        out = np.empty((1, 1), np.float32)
        memory = memories(net, "predict", {"n_batch": 1})
        rest = [memory.get(name, out) for name in list(inspect.signature(predict_into.py_func).parameters)[2:]]

        def infer(x):
            predict_into(flat, x, *rest)
            return out.item()

        return infer

    def _checked_inference(self, net):
        params = self.stepper.params
        return lambda x: net.predict(params, x).item()

    def _canonical(self):
        theirs = {ours: name for name, ours in self.names.items()}
        return [theirs.get(n, n) for n in self.stepper.params]


@peer("symbp")
def symbp_peer(workload):
    return SymbpStep(workload)


@peer("symbp_fit")
def symbp_fit_peer(workload):
    return None if workload.opt == "none" else SymbpStep(workload, "fit")


@peer("symbp_checked")
def symbp_checked_peer(workload):
    return None if workload.opt == "none" else SymbpStep(workload, "checked")
