"""`scaled_dot_product_attention` as one operation on any device, as torch's CPU kernel is."""

from typing import Any

import torch
from torch import Tensor

_KERNEL = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default


def is_fusible(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **settings: Any,
) -> bool:
    """Whether torch's CPU kernel takes it (aten/src/ATen/native/transformers/sdp_utils_cpp.cpp)."""
    tensors = (query, key, value)
    return (
        dropout_p == 0.0
        and not settings.get("enable_gqa", False)
        and all(tensor.dim() == 4 and tensor.stride(3) == 1 and tensor.is_floating_point() for tensor in tensors)
        and query.shape[3] == key.shape[3] == value.shape[3]
        and query.shape[:2] == key.shape[:2] == value.shape[:2]
        and (attn_mask is None or (not attn_mask.requires_grad and attn_mask.dim() in (2, 4)))
    )


def fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **settings: Any,
) -> Tensor:
    """The result of the kernel that never holds all scores at once."""
    mask = attn_mask
    if mask is not None and mask.dtype is torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), float("-inf"))
    result = _KERNEL(query, key, value, dropout_p, is_causal, attn_mask=mask, scale=settings.get("scale"))
    return result[0]  # type: ignore[no-any-return]
