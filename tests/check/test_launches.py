"""Which kernels a package launches, found without a device."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from symbp import Model, emit_model, load_generated, mean, sum
from symbp.check.launches import kernels_of, launched, own_kernels, runtime_of
from symbp.errors import TargetError
from symbp.package import write_package
from tests.codegen.golden_models import digits, lstm


def package(model: Model, folder: Path, target: str = "cuda", *, standalone: bool = False) -> ModuleType:
    return load_generated(write_package(emit_model(model, target=target, standalone=standalone), folder / model.name))


@pytest.mark.parametrize("standalone", [False, True])
def test_kernels_of_products_are_found_beside_the_models_own(tmp_path: Path, standalone: bool) -> None:
    net = package(digits(), tmp_path, standalone=standalone)
    own = own_kernels(net)
    assert all(kernel.name == name for name, kernel in own.items())
    assert {"forward_loss", "update_parameters"} <= set(own)
    every = kernels_of(net)
    others = [name for name in every if name not in own]
    assert list(every)[: len(own)] == list(own)
    assert any(name.startswith("contract_tiles") for name in others)
    assert len({id(kernel) for kernel in every.values()}) == len(every)


def test_the_runtime_is_the_packages_own_where_it_carries_one(tmp_path: Path) -> None:
    shared = package(digits(), tmp_path / "a")
    alone = package(digits(), tmp_path / "b", standalone=True)
    both = package(digits(), tmp_path / "c", "cpu,cuda", standalone=True)
    second = importlib.import_module(f"{both.__name__}.cuda")
    assert runtime_of(shared) == "symbp.runtime.cuda"
    assert runtime_of(alone) == f"{alone.__name__}._runtime.cuda"
    assert runtime_of(second) == f"{both.__name__}._runtime.cuda"
    assert list(own_kernels(second)) == list(own_kernels(alone))


def test_every_own_kernel_is_launched(tmp_path: Path) -> None:
    """All of a scan's as well; an axis of time has a size of its own."""
    net = package(lstm(), tmp_path)
    seen = [kernel.name for kernel in launched(net)]
    assert set(own_kernels(net)) <= set(seen)
    assert len(seen) == len({id(kernel) for kernel in launched(net)})


def test_a_size_that_the_model_refuses_is_left_out(tmp_path: Path) -> None:
    model = Model("late")
    t = model.axis("t", "time")
    x, w = model.input("x", t), model.parameter("w")
    y = model.define("y[t]", w * x[t - 2] + x[t], where=t >= 2)
    model.loss(sum(y[t] ** 2, t, where=t >= 2))
    assert own_kernels(package(model, tmp_path)).keys() <= {k.name for k in launched(package(model, tmp_path))}


def test_a_package_for_the_cpu_is_refused(tmp_path: Path) -> None:
    net = package(digits(), tmp_path, "cpu")
    with pytest.raises(TargetError, match=r"has no CUDA kernels; compile it with target 'cuda'"):
        kernels_of(net)


def test_a_model_without_a_loss(tmp_path: Path) -> None:
    model = Model("scores")
    b, j, k = model.axis("b", "batch"), model.axis("j", 5), model.axis("k", 3)
    x, W = model.input("x", b, j), model.parameter("W", j, k)
    model.output(model.define("z[b, k]", sum(x[b, j] * W[j, k], j) + mean(x[b, j], j)))
    net = package(model, tmp_path)
    assert own_kernels(net).keys() == {kernel.name for kernel in launched(net)}


def test_a_device_is_not_left_behind(tmp_path: Path) -> None:
    net = package(digits(), tmp_path, standalone=True)
    devices = importlib.import_module(f"{runtime_of(net)}.device")
    launched(net)
    assert devices._active is None
