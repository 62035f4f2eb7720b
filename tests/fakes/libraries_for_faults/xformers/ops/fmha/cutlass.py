"""Stands for the operators that refuse GPUs above a limit."""


class FwOp:
    """Forward."""

    CUDA_MAXIMUM_COMPUTE_CAPABILITY = (9, 0)


class BwOp:
    """Backward."""

    CUDA_MAXIMUM_COMPUTE_CAPABILITY = FwOp.CUDA_MAXIMUM_COMPUTE_CAPABILITY
