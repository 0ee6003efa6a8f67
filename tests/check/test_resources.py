"""What kernels take of a device, by ptxas; PTX is written by hand here, so that what it must show is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from symbp.check import resources
from symbp.check.resources import ARCHITECTURES, Resources, assemble, find_tool, measure, refuse_spills
from symbp.errors import TargetError

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"


def needs_ptxas() -> bool:
    try:
        find_tool("ptxas")
    except TargetError:
        return True
    return False


ptxas = pytest.mark.skipif(needs_ptxas(), reason="ptxas is not there: pip install 'symbp[cuda-build]'")


def crowded(values: int, threads: int = 1024) -> str:
    """A kernel that loads so many numbers, mixes them in a loop, and stores their sum: all of them live at once."""
    lines = [".visible .entry crowded(.param .u64 p)", f".maxntid {threads}, 1, 1", "{"]
    lines += [f".reg .f32 %f<{values + 1}>;", ".reg .u64 %rd<2>;", ".reg .u32 %r<2>;", ".reg .pred %q<1>;"]
    lines += ["ld.param.u64 %rd0, [p];", "cvta.to.global.u64 %rd1, %rd0;", "mov.u32 %r0, 0;"]
    lines += [f"ld.global.f32 %f{k}, [%rd1+{4096 * k}];" for k in range(values)]
    lines += ["again:"]
    lines += [f"fma.rn.f32 %f{k}, %f{k}, %f{k * 37 % values}, %f{(k + 1) % values};" for k in range(values)]
    lines += [
        "add.u32 %r0, %r0, 1;",
        "setp.lt.u32 %q0, %r0, 100;",
        "@%q0 bra again;",
        f"mov.f32 %f{values}, 0f00000000;",
    ]
    lines += [f"add.f32 %f{values}, %f{values}, %f{k};" for k in range(values)]
    lines += [f"st.global.f32 [%rd1], %f{values};", "ret;", "}"]
    return HEAD + "\n".join(lines) + "\n"


BARRIER = (
    HEAD
    + """\
.visible .entry barrier(.param .u64 p)
{
    .shared .align 4 .b8 part[256];
    .reg .u64 %rd<2>;
    .reg .f32 %f<2>;
    ld.param.u64 %rd0, [p];
    cvta.to.global.u64 %rd1, %rd0;
    ld.global.f32 %f0, [%rd1];
    st.shared.f32 [part], %f0;
    bar.sync 0;
    ld.shared.f32 %f1, [part+128];
    st.global.f32 [%rd1], %f1;
    ret;
}
"""
)


def resources_of(**given: int) -> Resources:
    numbers = {"registers": 16, "shared": 0, "barriers": 0, "stack": 0, "spill_stores": 0, "spill_loads": 0, **given}
    return Resources("k", "sm_90", counted_in="PTX", instructions={"total": 1}, **numbers)


@ptxas
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_small_kernel(architecture: str) -> None:
    found = assemble("barrier", BARRIER, architecture, count=True)
    assert (found.kernel, found.architecture) == ("barrier", architecture)
    assert (found.shared >= 256, found.barriers, found.stack, found.spill_stores) == (True, 1, 0, 0)
    assert 1 <= found.registers <= 32
    counted = found.instructions
    assert (counted["load"], counted["store"], counted["shared"], counted["barrier"]) == (1, 1, 2, 1)
    assert sum(counted.values()) - counted["total"] <= counted["total"]
    refuse_spills([found])


@ptxas
def test_a_kernel_that_spills_is_refused_by_name() -> None:
    found = measure({"crowded": None}, lambda kernel, capability: crowded(300), ["sm_90"])
    assert found[0].spills
    assert found[0].registers <= 64
    with pytest.raises(TargetError, match=r"kernel 'crowded' on sm_90 \(\d+ bytes\): expected values in registers"):
        refuse_spills(found)


@ptxas
def test_the_same_kernel_with_less_in_it_does_not_spill() -> None:
    refuse_spills(measure({"crowded": None}, lambda kernel, capability: crowded(30), ["sm_80", "sm_90"]))


@ptxas
def test_what_is_no_ptx_is_refused_by_name() -> None:
    with pytest.raises(TargetError, match=r"kernel 'wrong': ptxas refuses it for sm_80: .*Parsing error"):
        assemble("wrong", HEAD + "nonsense\n", "sm_80")


@ptxas
def test_ptx_is_made_once_for_each_capability() -> None:
    asked = []

    def to_ptx(kernel: object, capability: tuple[int, int]) -> str:
        asked.append(capability)
        return BARRIER

    found = measure({"barrier": None}, to_ptx)
    assert [one.architecture for one in found] == ["sm_80", "sm_90", "sm_90a"]
    assert asked == [(8, 0), (9, 0)]
    assert [dict(one.instructions) for one in found] == [{}, {}, {}]
    (counted,) = measure({"barrier": None}, to_ptx, ["sm_90"], counted=["sm_90"])
    assert counted.instructions["barrier"] == 1


def test_ptx_is_counted_where_there_is_no_disassembler() -> None:
    counted = resources._count_ptx(crowded(7))
    assert (counted["multiply-add"], counted["load"], counted["store"], counted["branch"]) == (7, 7, 1, 1)
    assert counted["total"] == 7 + 7 + 7 + 1 + 8  # loads, products, sums, the store, and what goes with them


def test_machine_code_is_counted() -> None:
    listing = (
        "        /*0000*/                   LDC R1, c[0x0][0x28] ;\n"
        "        /*0010*/              @!P0 LDG.E.CONSTANT R2, desc[UR4][R2.64] ;\n"
        "        /*0020*/                   FFMA.FTZ R2, R3, R4, R5 ;\n"
        "        /*0030*/                   HMMA.1688.F32.TF32 R4, R8, R9, R4 ;\n"
        "        /*0040*/              @UP0 UIADD3 UR4, UR4, 0x1, URZ ;\n"
        "        /*0050*/                   STG.E desc[UR4][R6.64], R2 ;\n"
        "        /*0060*/                   NOP ;\n"
    )
    counted = resources._count_machine_code(listing)
    assert counted["total"] == 6
    assert {kind: count for kind, count in counted.items() if count and kind != "total"} == {
        "multiply-add": 1,
        "matrix": 1,
        "load": 1,
        "store": 1,
    }


@pytest.mark.parametrize("what", ["stack", "spill_stores", "spill_loads"])
def test_local_memory_of_any_kind_is_refused(what: str) -> None:
    with pytest.raises(TargetError, match="'k' on sm_90"):
        refuse_spills([resources_of(), resources_of(**{what: 8})])
    refuse_spills([resources_of(shared=48000)])


def test_a_missing_compiler_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resources, "_located", resources._located.__wrapped__)
    monkeypatch.setattr(resources, "_WHEELS", {})
    monkeypatch.setattr(resources.shutil, "which", lambda name, path=None: None)
    with pytest.raises(
        TargetError, match=r"'ptxas' of the CUDA toolkit is not there; pip install 'symbp\[cuda-build\]'"
    ):
        measure({"k": None}, lambda kernel, capability: "")
