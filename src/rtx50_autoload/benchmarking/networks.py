"""The pieces of work in torch: matrix products and transformers with random weights, always the same ones.

Imported only where torch is: by `TorchEngine`. Models are functions of their weights, which are moved to a device and
to a type like any other tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Task", "matrix_product", "next_token_scores", "sentence_vectors"]

_SEED = 20260101
_TENSORS_OF_A_LAYER = 12


class Task(NamedTuple):
    """Work in one size, with its inputs on the CPU.

    Attributes:
        numbers: what is computed with, in float32.
        indices: what is looked up; none where nothing is.
        compute: from both to the result.

    """

    numbers: tuple[Any, ...]
    indices: Any | None
    compute: Callable[[Sequence[Any], Any], Any]


def matrix_product(size: Mapping[str, int]) -> Task:
    """Make two square matrices and their product."""
    torch.manual_seed(_SEED)
    rows = size["rows"]
    return Task((torch.randn(rows, rows), torch.randn(rows, rows)), None, lambda numbers, _: numbers[0] @ numbers[1])


def sentence_vectors(size: Mapping[str, int]) -> Task:
    """Make an encoder and sentences; the result is a vector of length 1 for each sentence."""

    def compute(weights: Sequence[Any], ids: Any) -> Any:  # noqa: ANN401 - tensors have no type where torch is absent
        hidden = _transformer(weights, ids, size["heads"], causal=False)
        return functional.normalize(hidden.mean(1), dim=-1)

    return Task(_weights(size), _ids(size), compute)


def next_token_scores(size: Mapping[str, int]) -> Task:
    """Make a decoder and prompts; the result is a score for each token of the vocabulary and each prompt."""

    def compute(weights: Sequence[Any], ids: Any) -> Any:  # noqa: ANN401
        hidden = _transformer(weights, ids, size["heads"], causal=True)
        return hidden[:, -1] @ weights[0].T

    return Task(_weights(size), _ids(size), compute)


def _ids(size: Mapping[str, int]) -> Any:  # noqa: ANN401
    return torch.randint(0, size["vocabulary"], (size["batch"], size["tokens"]))


def _weights(size: Mapping[str, int]) -> tuple[Any, ...]:
    """Give the embeddings of tokens and of places, those of each layer, and the last norm's."""
    torch.manual_seed(_SEED)
    width = size["width"]

    def norm() -> tuple[Any, Any]:
        return torch.ones(width), torch.zeros(width)

    def linear(inward: int, outward: int) -> tuple[Any, Any]:
        return torch.randn(outward, inward) * inward**-0.5, torch.zeros(outward)

    weights = [torch.randn(size["vocabulary"], width), torch.randn(size["tokens"], width)]
    for _ in range(size["layers"]):
        weights += [*norm(), *linear(width, 3 * width), *linear(width, width)]
        weights += [*norm(), *linear(width, 4 * width), *linear(4 * width, width)]
    return (*weights, *norm())


def _transformer(weights: Sequence[Any], ids: Any, heads: int, *, causal: bool) -> Any:  # noqa: ANN401
    hidden = functional.embedding(ids, weights[0]) + weights[1]
    for first in range(2, len(weights) - 2, _TENSORS_OF_A_LAYER):
        hidden = _layer(hidden, weights[first : first + _TENSORS_OF_A_LAYER], heads, causal=causal)
    return functional.layer_norm(hidden, hidden.shape[-1:], *weights[-2:])


def _layer(hidden: Any, weights: Sequence[Any], heads: int, *, causal: bool) -> Any:  # noqa: ANN401
    batch, tokens, width = hidden.shape
    normed = functional.layer_norm(hidden, (width,), *weights[:2])
    parts = functional.linear(normed, *weights[2:4]).view(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
    attended = functional.scaled_dot_product_attention(*parts, is_causal=causal)
    hidden = hidden + functional.linear(attended.transpose(1, 2).reshape(batch, tokens, width), *weights[4:6])
    normed = functional.layer_norm(hidden, (width,), *weights[6:8])
    return hidden + functional.linear(functional.gelu(functional.linear(normed, *weights[8:10])), *weights[10:])
