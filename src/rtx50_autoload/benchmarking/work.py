"""The pieces of work that are measured, as data: what each is, and in which sizes. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BOUNDS", "DTYPES", "WORKS", "Work"]

#: What the GPU computes in: the CPU's type, which is the same work, and the one that models usually run in there.
DTYPES: Final = ("float32", "bfloat16")

#: How far a result may be from the CPU's, as a share of that one's largest value. The bounds tell a wrong result from
#: rounding, not a good kernel from a better one: float32 leaves room for TF32, which a program may switch on.
BOUNDS: Final = {"float32": 5e-3, "bfloat16": 5e-2}


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of work.

    Attributes:
        name: what people call it.
        kind: which function of `networks` makes it.
        what: one clause; the numbers of a size stand in for the names in braces.
        sizes: from small to large. The largest that the CPU computes in reasonable time is measured.

    """

    name: str
    kind: str
    what: str
    sizes: tuple[Mapping[str, int], ...]

    def describe(self, size: Mapping[str, int]) -> str:
        """Say what is computed in this size."""
        return self.what.format_map(size)

    def operations(self, size: Mapping[str, int]) -> int:
        """Count the floating-point operations of one call: those of its matrix products, which are nearly all."""
        if self.kind == "matrix_product":
            return 2 * size["rows"] ** 3
        tokens = size["batch"] * size["tokens"]
        # Query, key, value and output, and a feed-forward part four times as wide; then scores and weighted sums.
        layer = 2 * tokens * 12 * size["width"] ** 2 + 4 * tokens * size["tokens"] * size["width"]
        head = 2 * size["batch"] * size["width"] * size["vocabulary"] if self.kind == "next_token_scores" else 0
        return size["layers"] * layer + head


# The widths of all-MiniLM-L6-v2, a usual model for sentence embeddings.
_ENCODER: Final = {"tokens": 128, "layers": 6, "width": 384, "heads": 12, "vocabulary": 30522}
# Those of the smallest GPT-2.
_DECODER: Final = {"tokens": 512, "layers": 12, "width": 768, "heads": 12, "vocabulary": 50257}

WORKS: Final = (
    Work(
        "matrix multiplication",
        "matrix_product",
        "two square matrices of {rows} rows",
        tuple({"rows": rows} for rows in (512, 1024, 2048, 4096, 8192)),
    ),
    Work(
        "embeddings",
        "sentence_vectors",
        "sentences of {tokens} tokens in batches of {batch} through an encoder of {layers} layers, width {width}, and "
        "their mean",
        tuple({"batch": batch, **_ENCODER} for batch in (4, 16, 64, 256)),
    ),
    Work(
        "transformer inference",
        "next_token_scores",
        "prompts of {tokens} tokens in batches of {batch} through a decoder of {layers} layers, width {width}, up to "
        "the scores of the next token",
        tuple({"batch": batch, **_DECODER} for batch in (1, 2, 4, 8)),
    ),
)
