"""How many multiply-accumulates torch's operations take: in convolutions and matrix products, without biases.

`MACS_RULES` has what multiplies matrices. What is free by convention is told by torch's own tags (element-wise, or a
reduction), by the schema (a view), or by `FREE`. An operation that is neither is not known, and nobody may take it as
free: `macs_of` gives None for it. (Fourier transforms, solvers, distances and quantised products are such.)
"""

from collections.abc import Callable
from math import prod

from analysis.torch_model.tape import Operation, Value
from search_spaces.ops import Shape

MacsRule = Callable[[Operation], int]


def _shape(operation: Operation, name: str) -> Shape:
    value = operation.get(name)
    assert isinstance(value, Value)
    return value.shape


def _convolution(operation: Operation) -> int:
    # A weight is used once at each position of the output; at each of the input where the convolution is transposed.
    source = _shape(operation, "input") if operation.get("transposed") else operation.outputs[0].shape
    weight = _shape(operation, "weight")
    return source[0] * prod(source[2:]) * prod(weight)


def _matrix_product(left: str, right: str) -> MacsRule:
    def rule(operation: Operation) -> int:
        # (..., m, k) by (..., k, n), where either may be a vector.
        first, second = _shape(operation, left), _shape(operation, right)
        return prod(first) * (second[-1] if len(second) > 1 else 1)

    return rule


def _attention(operation: Operation) -> int:
    # Scores of every query (..., t, d) with every key (..., s, d), and sums of the values (..., s, e) by them.
    query, key, value = (_shape(operation, name) for name in ("query", "key", "value"))
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _trilinear(operation: Operation) -> int:
    # F.bilinear: every weight (o, i, j) meets the product of features i and j of each sample, as in two products.
    left, weight, right = (_shape(operation, name) for name in ("i1", "i2", "i3"))
    outputs, _, inner = weight[-3:]
    return prod(left) * outputs * inner + prod(right) * outputs


def _recurrent_layer(operation: Operation) -> int:
    # mkldnn_rnn_layer: one layer in one direction, of input (t, n, i), weights (4h, i) and (4h, h).
    steps, batch = _shape(operation, "input")[:2]
    return steps * batch * (prod(_shape(operation, "weight0")) + prod(_shape(operation, "weight1")))


def _multi_head_attention(operation: Operation) -> int:
    # _native_multi_head_attention: query, key and value (n, t, e), projected, attended to and projected back.
    query, key, value = (_shape(operation, name) for name in ("query", "key", "value"))
    batch, steps, width = query
    inner = int(operation.get("embed_dim"))
    projections = prod(query[:2]) + prod(key[:2]) + prod(value[:2]) + prod(query[:2])
    return projections * width * inner + 2 * batch * steps * key[1] * inner


def _encoder_layer(operation: Operation) -> int:
    # _transformer_encoder_layer_fwd: self attention and two linear layers on (n, t, e).
    batch, steps, width = _shape(operation, "src")
    attention = 4 * batch * steps * width * width + 2 * batch * steps * steps * width
    return attention + batch * steps * sum(prod(_shape(operation, f"ffn_weight_{number}")) for number in (1, 2))


MACS_RULES: dict[str, MacsRule] = {
    "aten.convolution": _convolution,
    "aten._convolution": _convolution,
    "aten.convolution_overrideable": _convolution,
    "aten.mm": _matrix_product("self", "mat2"),
    "aten.addmm": _matrix_product("mat1", "mat2"),
    "aten._addmm_activation": _matrix_product("mat1", "mat2"),
    "aten._int_mm": _matrix_product("self", "mat2"),
    "aten._scaled_mm": _matrix_product("self", "mat2"),
    "aten.bmm": _matrix_product("self", "mat2"),
    "aten.baddbmm": _matrix_product("batch1", "batch2"),
    "aten.addbmm": _matrix_product("batch1", "batch2"),
    "aten.mv": _matrix_product("self", "vec"),
    "aten.addmv": _matrix_product("mat", "vec"),
    "aten.dot": _matrix_product("self", "tensor"),
    "aten.vdot": _matrix_product("self", "other"),
    "aten.scaled_dot_product_attention": _attention,
    "aten._scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten._scaled_dot_product_flash_attention": _attention,
    "aten._scaled_dot_product_efficient_attention": _attention,
    "aten._scaled_dot_product_cudnn_attention": _attention,
    "aten._trilinear": _trilinear,
    "aten.mkldnn_rnn_layer": _recurrent_layer,
    "aten._native_multi_head_attention": _multi_head_attention,
    "aten._transformer_encoder_layer_fwd": _encoder_layer,
}
"""The operations that multiply matrices."""

_FREE = {
    "made": "arange bartlett_window blackman_window empty empty_like empty_permuted empty_strided eye full full_like hamming_window hann_window kaiser_window linspace logspace new_empty "
    "new_empty_strided new_full new_ones new_zeros ones ones_like scalar_tensor tril_indices triu_indices zeros "
    "zeros_like",
    "random": "bernoulli exponential geometric multinomial native_dropout normal rand rand_like randint randint_like "
    "randn randn_like random randperm uniform",
    "copied": "_to_copy _unsafe_view alias_copy block_diag cat channel_shuffle clone col2im complex constant_pad_nd copy "
    "copysign diag_embed diagonal_scatter expand_copy fill flip im2col lift native_channel_shuffle permute_copy "
    "pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave "
    "replication_pad1d replication_pad2d replication_pad3d resize roll rot90 select_copy select_scatter slice_copy "
    "slice_scatter split_copy split_with_sizes_copy stack _stack transpose_copy tril triu unsafe_split "
    "unsafe_split_with_sizes view_copy zero",
    "looked up": "_embedding_bag _embedding_bag_forward_only _unsafe_index _unsafe_index_put bincount bucketize embedding "
    "gather index index_add index_copy index_fill index_put index_reduce index_select isin masked_fill masked_scatter "
    "masked_select nonzero nonzero_static put scatter scatter_add scatter_reduce searchsorted take",
    "element by element": "_log_softmax _masked_scale _masked_softmax _prelu_kernel _safe_softmax _softmax addr "
    "binary_cross_entropy binary_cross_entropy_with_logits floor_divide gelu glu hardswish heaviside huber_loss "
    "log_sigmoid_forward mish mse_loss nll_loss_forward nll_loss2d_forward polar rrelu_with_noise smooth_l1_loss "
    "soft_margin_loss threshold",
    "normalised": "_batch_norm_no_update _batch_norm_with_update _fused_rms_norm _native_batch_norm_legit "
    "_native_batch_norm_legit_no_training _weight_norm_interface linalg_vector_norm native_batch_norm native_group_norm "
    "native_layer_norm norm renorm",
    "pooled": "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_max_pool2d adaptive_max_pool3d "
    "avg_pool1d avg_pool2d avg_pool3d fractional_max_pool2d fractional_max_pool3d max_pool2d_with_indices "
    "max_pool3d_with_indices max_unpool2d max_unpool3d mkldnn_max_pool2d",
    "resampled": "_grid_sampler_2d_cpu_fallback _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d affine_grid_generator grid_sampler_2d grid_sampler_3d "
    "upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d "
    "upsample_trilinear3d",
    "scanned or sorted": "_aminmax _unique2 cummax cummin cumprod cumsum dist kthvalue logcumsumexp median mode "
    "nanmedian sort topk trace unique_consecutive unique_dim",
    "about tensors": "_assert_async _has_same_storage_numel _local_scalar_dense _pack_padded_sequence allclose "
    "cudnn_is_acceptable equal is_nonzero is_same_size result_type _is_all_true _is_any_true _assert_tensor_metadata "
    "_functional_assert_async record_stream sym_numel sym_size",
}
FREE = {f"aten.{name}" for names in _FREE.values() for name in names.split()} | {
    "nas.reread",
    "profiler._record_function_enter_new",
    "profiler._record_function_exit",
}
"""What torch's tags and schemas do not tell to be free: what multiplies no matrices, by what it does instead."""

LOOK_UPS = frozenset(f"aten.{name}" for name in _FREE["looked up"].split())
"""What reads of a table no more than it gives."""


def macs_of(operation: Operation) -> int | None:
    """The MACs of an operation; None if it is not known what it takes."""
    kind = operation.kind
    rule = MACS_RULES.get(kind.name)
    if rule is not None:
        return rule(operation)
    return 0 if kind.is_view or kind.is_pointwise or kind.is_reduction or kind.name in FREE else None
