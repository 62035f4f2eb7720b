"""On a real NVIDIA GPU: attention whose kernel cannot be loaded, for real, and what a program gets instead.

Run where the package and a CUDA build of torch with its compiler (nvcc, a C++ compiler, ninja) are installed beside
pytest: ``python -m pytest tests/test_gpu_rescue.py``. The models need transformers, diffusers and xformers, too; a test
of a model is skipped where its library is missing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import textwrap
from typing import TYPE_CHECKING

import pytest

from test_gpu import nvml_sees_a_gpu
from test_gpu_errors import BUILD, recorded, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not nvml_sees_a_gpu(), reason="needs an NVIDIA GPU and its driver")

#: Stands for flash_attn's extension. Its kernel gives the query back, which tells its answer from the stand-in's.
SOURCE = r"""
#include <torch/extension.h>
#include <c10/cuda/CUDAException.h>

__global__ void copy(const unsigned short* from, unsigned short* to, int64_t count) {
  int64_t index = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
  if (index < count) to[index] = from[index];
}

static int64_t calls = 0;

torch::Tensor fwd(torch::Tensor q) {
  calls += 1;
  auto out = torch::empty_like(q);
  copy<<<(q.numel() + 255) / 256, 256, 0, CHECKED_STREAM>>>(
      (const unsigned short*)q.data_ptr(), (unsigned short*)out.data_ptr(), q.numel());
  CHECK_LAUNCH;
  return out;
}

int64_t count() { return calls; }

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("fwd", &fwd);
  module.def("count", &count);
}
"""
CHECKED = SOURCE.replace("CHECK_LAUNCH", "C10_CUDA_KERNEL_LAUNCH_CHECK()")
UNCHECKED = SOURCE.replace("CHECK_LAUNCH", "")

INIT = """
__version__ = "2.8.3"
from flash_attn.flash_attn_interface import flash_attn_func
"""
INTERFACE = """
import torch
import flash_attn_2_cuda as kernel

@torch.library.custom_op("rtx50_fake_flashattn::_flash_attn_forward", mutates_args=())
def _flash_attn_forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return kernel.fwd(q)

@_flash_attn_forward.register_fake
def _(q, k, v):
    return torch.empty_like(q)

class FlashAttnFunc(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v):
        return _flash_attn_forward(q, k, v)
    @staticmethod
    def backward(ctx, gradient):
        return gradient, None, None

def flash_attn_func(
    q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, alibi_slopes=None,
    deterministic=False, return_attn_probs=False,
):
    return FlashAttnFunc.apply(q, k, v)
"""

#: The only GPU code that the extension holds. No GPU runs both.
FOREIGN = ("120", "80")

PRELUDE = """
import sys
sys.path[:0] = [{folder!r}]
import torch
import flash_attn_2_cuda as kernel
from flash_attn import flash_attn_func
torch.manual_seed(0)
def make(dtype=torch.float16):
    return [torch.randn(2, 64, 4, 64, device="cuda", dtype=dtype) for _ in range(3)]
def wanted(q, k, v, causal=False):
    q, k, v = (tensor.double().transpose(1, 2) for tensor in (q, k, v))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)
def right(out, like, causal=False):
    return out.dtype == like[0].dtype and torch.allclose(out.double(), wanted(*like, causal), atol=2e-2)
qkv = make()
"""


def build(folder: Path, name: str, source: str, number: str) -> None:
    """Build an extension that holds code for one architecture."""
    stream = "at::cuda::getCurrentCUDAStream()"
    path = folder / f"{name}.cu"
    text = source.replace("CHECKED_STREAM", stream)
    path.write_text("#include <ATen/cuda/CUDAContext.h>\n" + text, encoding="utf-8")
    # torch adds the architecture of the GPU at hand unless the flags name one.
    run(BUILD, folder, name, path, folder, number, TORCH_CUDA_ARCH_LIST=f"{number[:-1]}.{number[-1]}")


def library(folder: Path, number: str) -> str:
    """Make a flash_attn whose extension holds code for one architecture; give the beginning of a program with it."""
    if shutil.which("nvcc") is None and not os.environ.get("CUDA_HOME"):
        pytest.skip("needs nvcc on the PATH or in CUDA_HOME")
    package = folder / "flash_attn"
    package.mkdir()
    (package / "__init__.py").write_text(INIT, encoding="utf-8")
    (package / "flash_attn_interface.py").write_text(INTERFACE, encoding="utf-8")
    build(folder, "flash_attn_2_cuda", CHECKED, number)
    return PRELUDE.format(folder=str(folder))


@pytest.fixture(scope="session")
def foreign(tmp_path_factory) -> str:
    """A program's beginning with a flash_attn that holds no code for the GPU at hand."""
    for number in FOREIGN:
        folder = tmp_path_factory.mktemp(f"only_for_{number}")
        prelude = library(folder, number)
        probe = "try:\n    flash_attn_func(*qkv)\nexcept RuntimeError:\n    print('fails')\n"
        if run(prelude + probe, folder, RTX50_DISABLE="1").stdout == "fails\n":
            return prelude
    raise AssertionError("this GPU runs code for 12.0 and for 8.0")


@pytest.fixture(scope="session")
def native(tmp_path_factory) -> str:
    """A program's beginning with a flash_attn that holds code for the GPU at hand."""
    folder = tmp_path_factory.mktemp("native")
    ask = "import torch\nprint(*torch.cuda.get_device_capability(), sep='')"
    return library(folder, run(ask, folder, RTX50_DISABLE="1").stdout.strip())


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def program(prelude: str, code: str, state: Path, **environment: str) -> tuple[list[str], list[str]]:
    """Run a program; give its lines, and what was said of stand-ins."""
    result = run(prelude + textwrap.dedent(code), state, **environment)
    return result.stdout.splitlines(), [line for line in result.stderr.splitlines() if "answers in its place" in line]


def test_the_first_call_is_rescued_and_right_and_the_second_costs_no_exception(foreign, state):
    lines, said = program(
        foreign,
        """
        print(right(flash_attn_func(*qkv), qkv))
        tried = kernel.count()
        print(all(right(flash_attn_func(*qkv, causal=True), qkv, True) for _ in range(10)), kernel.count() == tried)
        bfloat = make(torch.bfloat16)
        print(right(flash_attn_func(*bfloat), bfloat))
        with torch.inference_mode():
            print(right(flash_attn_func(*qkv), qkv))
        print(torch.ones(4, device="cuda").sum().item())
        """,
        state,
    )
    assert lines == ["True", "True True", "True", "True", "4.0"]
    (line,) = said
    assert "flash_attn.flash_attn_func" in line
    assert [category for category, *_ in recorded(state)] == ["no_kernel_image"]


def test_gradients_are_those_of_attention(foreign, state):
    lines, _ = program(
        foreign,
        """
        inputs = [tensor.detach().requires_grad_() for tensor in qkv]
        flash_attn_func(*inputs, causal=True).double().square().sum().backward()
        exact = [tensor.detach().double().requires_grad_() for tensor in qkv]
        wanted(*exact, causal=True).square().sum().backward()
        print([torch.allclose(one.grad.double(), other.grad, atol=5e-2) for one, other in zip(inputs, exact)])
        """,
        state,
    )
    assert lines == ["[True, True, True]"]


@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_the_first_call_in_compiled_code_is_rescued_without_a_break(foreign, state, backend):
    lines, said = program(
        foreign,
        f"""
        compiled = torch.compile(lambda *t: flash_attn_func(*t, causal=True) * 2, backend="{backend}", fullgraph=True)
        print(right(compiled(*qkv) / 2, qkv, True), right(compiled(*qkv) / 2, qkv, True))
        """,
        state,
    )
    assert lines == ["True True"]
    assert len(said) == 1


def test_compiled_code_keeps_a_kernel_that_loads(native, state):
    lines, said = program(
        native,
        """
        compiled = torch.compile(lambda *t: flash_attn_func(*t) * 2, backend="eager", fullgraph=True)
        print(torch.equal(compiled(*qkv), qkv[0] * 2), torch.equal(flash_attn_func(*qkv), qkv[0]))
        """,
        state,
    )
    assert (lines, said) == (["True True"], [])


CAPTURE = """
graph = torch.cuda.CUDAGraph()
def capture():
    with torch.cuda.graph(graph):
        return flash_attn_func(*qkv)
"""


def test_a_cuda_graph_is_captured_after_a_call_and_not_before(foreign, state):
    lines, _ = program(
        foreign + CAPTURE,
        """
        flash_attn_func(*qkv)
        out = capture()
        for tensor in qkv:
            tensor.copy_(torch.randn_like(tensor))
        graph.replay()
        print(right(out, qkv))
        """,
        state,
    )
    assert lines == ["True"]
    lines, said = program(
        foreign + CAPTURE,
        """
        try:
            capture()
        except Exception as error:
            links = [error, error.__context__, error.__cause__]
            notes = [note for link in links for note in getattr(link, "__notes__", ())]
            print(any("call the function once before" in note for note in notes))
        """,
        state,
    )
    assert (lines, said) == (["True"], [])


def test_an_error_that_another_library_has_left_behind_is_not_swallowed(foreign, native, state, tmp_path):
    number = next(number for number in FOREIGN if f"only_for_{number}" in foreign)
    build(tmp_path, "careless", UNCHECKED, number)
    lines, said = program(
        native,
        f"""
        sys.path.insert(0, {str(tmp_path)!r})
        import careless
        careless.fwd(qkv[0])
        try:
            flash_attn_func(*qkv)
        except RuntimeError as error:
            print("no kernel image" in str(error))
        print(torch.equal(flash_attn_func(*qkv), qkv[0]))
        """,
        state,
    )
    assert (lines, said) == (["True", "True"], [])


def test_with_rescue_off_the_error_is_what_it_is_without_us(foreign, state):
    code = """
        try:
            flash_attn_func(*qkv)
        except RuntimeError as error:
            print(type(error), str(error), kernel.count(), flash_attn_func.__code__.co_names)
    """
    off, _ = program(foreign, code, state, RTX50_RESCUE="0")
    stock, _ = program(foreign, code, state, RTX50_DISABLE="1")
    assert off == stock


def needs(*names: str) -> None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} installed")


def test_transformers_computes_the_same_with_the_provided_flash_attn(state):
    needs("transformers")
    if importlib.util.find_spec("flash_attn") is not None:
        pytest.skip("flash_attn is installed, so none is provided")
    code = """
from transformers import LlamaConfig, LlamaForCausalLM
import torch
sizes = dict(
    vocab_size=128, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128, pad_token_id=0,
)
tokens = torch.randint(1, 128, (2, 32), device="cuda")
mask = torch.ones_like(tokens)
mask[1, :7] = 0
logits, generated, losses = {}, {}, {}
for way in ("sdpa", "flash_attention_2"):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**sizes, attn_implementation=way)).to("cuda", torch.bfloat16)
    seen = mask.bool()
    with torch.no_grad():
        logits[way] = model(tokens, attention_mask=mask).logits[seen].float()
        generated[way] = model.generate(tokens[:1], max_new_tokens=8, do_sample=False)
    out = model(tokens, attention_mask=mask, labels=tokens.masked_fill(~seen, -100))
    out.loss.backward()
    losses[way] = out.loss.item(), model.model.layers[0].self_attn.q_proj.weight.grad.float().norm().item()
sdpa, flash = logits["sdpa"], logits["flash_attention_2"]
print(model.config._attn_implementation, (sdpa - flash).abs().max().item(), sdpa.abs().max().item(), losses)
print(torch.allclose(sdpa, flash, atol=2e-2), torch.equal(*generated.values()))
print([abs(one - other) < 2e-2 * abs(one) for one, other in zip(*losses.values())])
"""
    result = run(code, state, RTX50_RESCUE="provide")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("flash_attention_2 ")
    assert lines[1:] == ["True True", "[True, True]"], lines
    assert result.stderr.count("RTX50_RESCUE is provide") == 1


def test_diffusers_computes_the_same_with_xformers_rescued(state):
    needs("diffusers", "xformers")
    # Told the truth about a card of 12.0, xformers' cutlass refuses float32 as "too new".
    code = """
import torch
from diffusers import UNet2DConditionModel
torch.manual_seed(0)
unet = UNet2DConditionModel(
    sample_size=16, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(32, 64), norm_num_groups=8,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    cross_attention_dim=32, attention_head_dim=8,
).to("cuda").eval()
sample = torch.randn(2, 4, 16, 16, device="cuda")
text = torch.randn(2, 7, 32, device="cuda")
with torch.no_grad():
    before = unet(sample, 10, text).sample
    unet.enable_xformers_memory_efficient_attention()
    after = unet(sample, 10, text).sample
import rtx50_autoload
print((before - after).abs().max().item())
print(torch.allclose(before, after, atol=1e-4))
print([f["function"] for row in rtx50_autoload.status()["stand_ins"] for f in row["functions"]])
"""
    result = run(code, state, RTX50_SIMULATE="NVIDIA GeForce RTX 5090:12.0", RTX50_MODE="observe")
    lines = result.stdout.splitlines()
    assert lines[1:] == ["True", "['xformers.ops.memory_efficient_attention']"], lines
    assert result.stderr.count("answers in its place") == 1
