"""The gradient of a small SIREN in one kernel, interpreted by Triton where there is no GPU."""

import copy
import os
import subprocess
import sys

import pytest
import torch

from intfit.codecs.wavelet.config import WaveletConfig
from intfit.devices import runs_triton
from intfit.networks.architecture import SirenConfig
from intfit.networks.postfilter import PostfilterSiren
from intfit.networks.siren import Siren
from intfit.training.gradients import fused, layered
from intfit.training.gradients.autograd import AutogradGradient
from intfit.training.gradients.base import Batch
from intfit.training.gradients.fused import FusedGradient, make_fused
from intfit.training.gradients.layered import LayeredGradient
from intfit.training.optimizers import orthogonal
from intfit.training.optimizers.adam import Adam

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # read as Triton is imported, which nothing has done yet
triton = pytest.importorskip("triton")
# Triton looks for a GPU when it first launches a kernel: it must not be hidden from these tests
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []


@triton.jit
def as_a_range(count):
    for _ in range(count):
        pass


@pytest.fixture(scope="module")
def _running():
    """Interpreters of before NumPy 2.4 do not work with it."""
    try:
        as_a_range[(1,)](2)
    except Exception as error:
        if DEVICE == "cuda":
            raise
        pytest.skip(f"this Triton's interpreter does not work with this NumPy: {error}")


runs = pytest.mark.usefixtures("_running")


def siren(inside, outside, width, depth):
    config = SirenConfig(inside, outside, width, depth, omega_first=60.0, omega=30.0)
    field = Siren(config, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    Adam([field.groups(1.0)], 1.0, beta2=0.99)  # which moves them
    return field


def examples(inside, outside, count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    sides = (inside, outside)
    coords, targets = (torch.rand(count, side, generator=generator) * 2 - 1 for side in sides)
    return coords.to(DEVICE), targets.to(DEVICE), torch.rand(count, generator=generator).to(DEVICE)


def exactly(field, coords, targets, *, weights=None, **how):
    """Gradients by name, and discrepancies, in double precision."""
    twin = copy.deepcopy(field).double().requires_grad_()
    twin.zero_grad()
    counts = None if weights is None else weights.double()
    batch = Batch(coords.double(), targets.double(), weights=counts, **how)
    errors = AutogradGradient(twin)(batch)
    return {name: parameter.grad for name, parameter in twin.named_parameters()}, errors


def assert_same(field, errors, exact):
    gradients, expected = exact
    for name, parameter in field.named_parameters():
        assert (parameter.grad - gradients[name]).norm() < 1e-4 * gradients[name].norm(), name
    assert (errors - expected).norm() < 1e-5 * expected.norm()


@runs
@pytest.mark.parametrize(
    ("inside", "outside", "width", "depth", "loss"),
    [(1, 1, 24, 1, "l1"), (2, 3, 64, 2, "l2"), (3, 1, 48, 4, "l1"), (2, 2, 128, 2, "l2")],
)
def test_gradients_in_one_kernel_are_autograd_s(inside, outside, width, depth, loss):
    field = siren(inside, outside, width, depth)
    coords, targets, weights = examples(inside, outside, 70)
    how = {"loss": loss, "count": 70, "weights": weights if depth > 1 else None}
    errors = FusedGradient([field])(Batch(coords, targets, **how))
    assert_same(field, errors, exactly(field, coords, targets, **how))


@runs
def test_programs_with_several_tiles_and_parts_of_a_batch_add_up(monkeypatch):
    monkeypatch.setattr(fused, "MAX_TILE", 16)
    field, how = siren(2, 3, 24, 3), {"loss": "l2", "count": 90}
    coords, targets, _ = examples(2, 3, 90)
    gradient = FusedGradient([field])
    parts = [gradient(part) for part in Batch(coords, targets, **how).split(60)]
    assert_same(field, torch.cat(parts), exactly(field, coords, targets, **how))


@runs
@pytest.mark.parametrize(("depth", "loss", "skip"), [(1, "l2", False), (3, "l1", True)])
def test_gradients_by_a_kernel_a_layer_are_autograd_s_for_networks_side_by_side(depth, loss, skip):
    fields = [siren(2, 3, 40, depth), siren(2, 3, 40, depth)]
    for field in fields:
        if skip:
            field.skip = torch.nn.Parameter(torch.full((3, 2), 0.3, device=DEVICE))
    with torch.no_grad():
        for parameter in fields[1].parameters():
            parameter.mul_(1.1)
    given = [examples(2, 3, 70, seed) for seed in (1, 2)]
    coords, targets, weights = (torch.stack(each) for each in zip(*given, strict=True))
    how = {"loss": loss, "count": 70}
    errors = LayeredGradient(fields)(Batch(coords, targets, weights=weights, **how))
    for row, field in enumerate(fields):
        exact = exactly(field, coords[row], targets[row], weights=weights[row], **how)
        assert_same(field, errors[row], exact)


@runs
def test_large_batches_in_half_precision_have_autograd_s_gradients(monkeypatch):
    monkeypatch.setattr(layered, "LARGE_BATCH", 100)
    if DEVICE == "cpu":  # Triton's interpreter multiplies no bfloat16
        monkeypatch.setattr(layered, "HALVES", (torch.float16, torch.float16))
    field, how = siren(2, 3, 40, 3), {"loss": "l2", "count": 220}
    coords, targets, weights = examples(2, 3, 220)
    exact = LayeredGradient([field])
    batch = Batch(coords, targets, weights=weights, **how)
    expected = exactly(field, coords, targets, weights=weights, **how)
    assert_same(field, exact(batch), expected)
    field.zero_grad(set_to_none=False)
    errors = exact.make_rough()(batch)
    gradients, exact_errors = expected
    for name, parameter in field.named_parameters():
        error = (parameter.grad - gradients[name]).norm() / gradients[name].norm()
        assert 1e-6 < error < 1e-2, name
    assert (errors - exact_errors).norm() < 5e-3 * exact_errors.norm()


@runs
def test_networks_side_by_side_have_the_gradients_that_each_has_alone(monkeypatch):
    monkeypatch.setattr(fused, "MAX_TILE", 16)
    fields = [siren(2, 3, 24, 3), siren(2, 3, 24, 3)]
    with torch.no_grad():
        for parameter in fields[1].parameters():
            parameter.mul_(1.1)
    given = [examples(2, 3, 90, seed) for seed in (1, 2)]
    coords, targets, weights = (torch.stack(each) for each in zip(*given, strict=True))
    how = {"loss": "l2", "count": 90}
    errors = FusedGradient(fields)(Batch(coords, targets, weights=weights, **how))
    for row, field in enumerate(fields):
        exact = exactly(field, coords[row], targets[row], weights=weights[row], **how)
        assert_same(field, errors[row], exact)


@runs
@pytest.mark.parametrize(("width", "in_registers"), [(16, 128), (23, 128), (23, 16)])
def test_matrices_are_decomposed_in_one_kernel_as_by_pytorch(width, in_registers, monkeypatch):
    monkeypatch.setattr(orthogonal, "MAX_IN_REGISTERS", in_registers)
    monkeypatch.setattr(orthogonal, "COLUMNS", 16)
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(4, width, width, generator=generator)
    matrices[1] *= torch.logspace(-6, 3, width)  # of very different columns
    matrices[2, :, 3:] = 0  # of low rank
    matrices[3] = 0
    given = matrices.to(DEVICE)
    bases = orthogonal.orthogonalise_in_one_kernel(given).cpu()
    assert torch.equal(given.cpu(), matrices)
    identity = torch.eye(width).expand(4, -1, -1)
    torch.testing.assert_close(bases.mT @ bases, identity, atol=1e-5, rtol=0)
    expected = torch.linalg.qr(matrices[:2])[0]
    torch.testing.assert_close(bases[:2], expected, atol=1e-4, rtol=0)


@runs
def test_what_corrects_a_picture_has_a_skip_and_a_size():
    generator = torch.Generator().manual_seed(0)
    config = WaveletConfig(3, 96, 128, step=100, neurons=24)
    shape = config.own_network()
    field = PostfilterSiren(shape, gain=config.step_size, generator=generator)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    field.to(DEVICE)
    Adam([field.groups(1.0)], 1.0, beta2=0.99)  # which moves them
    coords, targets, _ = examples(field.config.in_features, 3, 70)
    errors = FusedGradient([field])(Batch(coords, targets, loss="l2", count=70))
    assert_same(field, errors, exactly(field, coords, targets, loss="l2", count=70))


@runs
def test_parameters_are_read_anew_and_the_same_ones_give_the_same_bits():
    field = siren(2, 3, 24, 3)
    coords, targets, _ = examples(2, 3, 40)
    gradient = FusedGradient([field])

    def gradients():
        field.zero_grad(set_to_none=False)
        gradient(Batch(coords, targets, loss="l2", count=40))
        return [parameter.grad.clone() for parameter in field.parameters()]

    before = gradients()
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.mul_(1.01)
    errors = gradient(Batch(coords, targets, loss="l2", count=40))
    after = gradients()
    assert_same(field, errors, exactly(field, coords, targets, loss="l2", count=40))
    assert not torch.equal(before[0], after[0])
    assert all(map(torch.equal, after, gradients()))


@pytest.mark.gpu
@pytest.mark.skipif(DEVICE == "cpu", reason="no CUDA device here")
def test_a_captured_graph_adds_the_gradient_at_the_parameters_of_its_replay():
    field = siren(2, 3, 24, 3)
    coords, targets, _ = examples(2, 3, 100)
    gradient = FusedGradient([field])
    gradient(Batch(coords, targets, loss="l2", count=100))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        errors = gradient(Batch(coords, targets, loss="l2", count=100))
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.mul_(1.01)
    field.zero_grad(set_to_none=False)
    graph.replay()
    assert_same(field, errors, exactly(field, coords, targets, loss="l2", count=100))


@runs
def test_it_is_compiled_before_the_fit_and_leaves_no_gradient(monkeypatch):
    monkeypatch.setattr(fused, "supports", lambda field: True)
    for width in (24, 40):
        field = siren(2, 3, width, 2)
        fast, exact = make_fused([field], batch=20, loss="l1")
        assert (fast is exact) == (width == 24)
        assert all(not parameter.grad.any() for parameter in field.parameters())
    monkeypatch.setattr(fused, "supports", lambda field: False)
    monkeypatch.setattr(fused.layered, "supports", lambda field: True)
    fast, exact = make_fused([field], batch=20, loss="l1")
    assert isinstance(fast, LayeredGradient)
    assert fast._memory is exact._memory


def test_where_triton_does_not_work_it_is_said_and_done_without(monkeypatch):
    def fail(*_):
        raise RuntimeError("Failed to find C compiler.\nMore")

    monkeypatch.setattr(fused, "supports", lambda field: True)
    monkeypatch.setattr(FusedGradient, "compile", fail)
    with pytest.warns(UserWarning, match="slower, since .*C compiler.$"):
        assert make_fused([siren(2, 3, 24, 2)], batch=20, loss="l2") is None


def test_a_network_on_the_cpu_is_not_for_this():
    assert runs_triton(torch.device("cuda"))
    assert fused.supports(siren(2, 3, 24, 3)) == (DEVICE == "cuda")
    assert not fused.supports(siren(2, 3, 160, 1))


COMPILE = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from intfit.training.gradients import kernels, layer_kernels
from intfit.training.gradients.compiled import OPTIONS
from intfit.training.gradients.layered import LARGE, SMALL
from intfit.training.optimizers import kernels as optimizer_kernels
from intfit.training.optimizers import orthogonal
from intfit.training.optimizers.orthogonal import count_warps

floats = {"share"}
pointers = {"coords", "targets", "weights", "errors", "parameters", "activations", "partials"}
for capability, width, precision in (
    (80, 32, "ieee"), (90, 64, "tf32"), (80, 128, "tf32"), (90, 128, "tf32x3")
):
    known = dict(TILE=min(32, 2048 // width), WIDTH=width, INPUTS=32, OUTPUTS=16)
    known |= dict(L1=False, SKIP=True)
    known |= dict(PRECISION=precision, EXACT="ieee" if width == 32 else "tf32x3")
    types = {
        name: "*fp32" if name in pointers else "fp32" if name in floats else "i32"
        for name in kernels.forward_backward.arg_names
    }
    source = ASTSource(kernels.forward_backward, types | dict.fromkeys(known, "constexpr"), known)
    options = {"num_warps": 8, "num_stages": 1, "enable_fp_fusion": True}
    kernel = compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert kernel.asm["cubin"]
    print(kernel.metadata.shared)

small, large = (
    dict(ROWS=tiles.rows, COLUMNS=tiles.columns, STEP=tiles.step, WIDTH=256, PRECISION="tf32")
    for tiles in (SMALL, LARGE)
)
above, group = {"ABOVE": 256}, {"ABOVE": 256, "GROUP": 4}
halves = {"turns": "*fp16"} | dict.fromkeys(["above", "deltas"], "*bf16")
for capability, kernel, known, how, kinds in (
    (80, optimizer_kernels.orthogonalise, {"WIDTH": 32}, {"num_warps": count_warps(32)}, {}),
    (90, optimizer_kernels.orthogonalise, {"WIDTH": 128}, {"num_warps": count_warps(128)}, {}),
    (
        80,
        optimizer_kernels.orthogonalise_in_memory,
        {"WIDTH": 256, "COLUMNS": orthogonal.COLUMNS},
        {"num_warps": orthogonal.WARPS},
        {},
    ),
    (80, layer_kernels.hidden_layer, small, {"num_stages": SMALL.stages}, {}),
    (90, layer_kernels.backward_layer, small | above, {"num_stages": SMALL.stages}, {}),
    (90, layer_kernels.weight_gradients, small | group, {"num_stages": SMALL.stages}, {}),
    (
        90, layer_kernels.hidden_layer, large, {"num_stages": LARGE.stages},
        halves | {"matrices": "*fp16"},
    ),
    (
        80, layer_kernels.backward_layer, large | above, {"num_stages": LARGE.stages},
        halves | {"matrices": "*bf16"},
    ),
    (90, layer_kernels.weight_gradients, large | group, {"num_stages": LARGE.stages}, halves),
):
    pointers = {"matrices", "bases", "parameters", "turns", "deltas", "above", "partials"}
    aligned, ordinary = pointers | {"place", "total"}, {"share": "fp32"}
    types = {
        name: kinds.get(name, "*fp32" if name in pointers else ordinary.get(name, "i32"))
        for name in kernel.arg_names
    }
    attributes = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(kernel.arg_names)
        if name in aligned
    }
    constants = types | dict.fromkeys(known, "constexpr")
    source = ASTSource(kernel, constants, known, attributes)
    made = compile(source, target=GPUTarget("cuda", capability, 32), options=OPTIONS | how)
    assert made.asm["cubin"]
    print(made.metadata.shared)
"""


@pytest.mark.slow
def test_it_compiles_for_gpus_that_are_not_there_and_fits_their_shared_memory(tmp_path):
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    run = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert all(int(size) <= 99 << 10 for size in run.stdout.split())  # of sm_86: the least
