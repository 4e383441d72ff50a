"""What is seen behind the operations that sum over positions or features: products, attention, norms, recurrences."""

from collections.abc import Sequence

from analysis.torch_model.rules import (
    Rule,
    Seen,
    Sights,
    about_all,
    along,
    for_each,
    join,
    mixed,
    numbers,
    reduced,
    same,
    with_others,
)
from analysis.torch_model.sight import Sight, spread
from analysis.torch_model.tape import Operation, Value


def _product(left: str, right: str) -> Rule:
    """(..., m, k) by (..., k, n): a row sees what its numbers see, a column likewise; either may be a vector."""

    def rule(operation: Operation, read: list[Value], sights: Sights) -> Seen:
        first, second = operation.get(left), operation.get(right)
        rows, columns = sights[first.number], sights[second.number]
        is_matrix = len(second.shape) > 1
        parts = []
        if rows is not None and (seen := spread(rows, (len(rows.axes) - 1,))) is not None:
            parts.append(seen._replace(axes=(*seen.axes[:-1], ()) if is_matrix else seen.axes[:-1]))
        if columns is not None:
            summed = len(columns.axes) - 2 if is_matrix else 0
            if (seen := spread(columns, (summed,))) is not None:
                own = seen.axes[-1:] if is_matrix else ()
                parts.append(seen._replace(axes=(*seen.axes[: max(summed, 0)], *((),) * (len(first.shape) > 1), *own)))
        return _joined(operation, parts, (first, second), read, sights)

    return rule


def _attended(operation: Operation, read: list[Value], sights: Sights) -> Seen:
    """Every query sees itself, and all keys and values of its head: (n, h, t, d)."""
    sources = tuple(operation.get(name) for name in ("query", "key", "value"))
    dimensions = len(operation.outputs[0].shape)
    parts = []
    for source, summed in zip(sources, (1, 2, 2), strict=True):
        sight = sights[source.number]
        seen = None if sight is None else spread(sight, range(dimensions - summed, dimensions))
        if seen is not None:
            parts.append(seen)
    return _joined(operation, parts, sources, read, sights)


def _joined(
    operation: Operation, parts: list[Sight], sources: Sequence[Value], read: list[Value], sights: Sights
) -> Seen:
    """What the parts see together, and everywhere what is read besides the sources."""
    others = [value for value in read if all(value is not source for source in sources)]
    return with_others(operation, join(parts, operation.outputs[0].shape), others, sights)


def _normalised_in_batches(operation: Operation, value: Value, sight: Sight) -> Seen:
    """In evaluation a batch norm has kept statistics; those of a batch are made from all positions."""
    return spread(sight, range(2, len(value.shape))) if operation.get("training") else sight


def _normalised_over_shape(operation: Operation, value: Value, sight: Sight) -> Seen:
    dimensions = len(value.shape)
    return spread(sight, range(dimensions - len(numbers(operation.get("normalized_shape"))), dimensions))


def _normalised_in_groups(operation: Operation, value: Value, sight: Sight) -> Seen:
    return spread(sight, range(1, len(value.shape)))


def _recurred(operation: Operation, value: Value, sight: Sight) -> Seen:
    """A recurrent layer on (t, n, features): behind one in both directions every step sees all others."""
    return spread(sight, (0, len(value.shape) - 1))


MIXING_RULES: dict[str, Rule] = {
    **about_all(
        "self",
        {
            same: "_masked_scale _prelu_kernel bernoulli gelu hardswish log_sigmoid_forward mish rrelu_with_noise threshold tril triu",
            along(
                "dim"
            ): "_fft_c2c _fft_c2r _fft_r2c _log_softmax _safe_softmax _softmax cummax cummin cumprod cumsum glu "
            "kthvalue logcumsumexp median mode sort topk",
        },
    ),
    **about_all(
        "input",
        {
            same: "_batch_norm_no_update _native_batch_norm_legit_no_training native_dropout",
            _normalised_in_groups: "_batch_norm_with_update native_group_norm",
            _normalised_in_batches: "_native_batch_norm_legit native_batch_norm",
            _normalised_over_shape: "_fused_rms_norm native_layer_norm",
            _recurred: "mkldnn_rnn_layer",
        },
    ),
    "aten.linalg_vector_norm": reduced,
    "aten.mm": _product("self", "mat2"),
    "aten._int_mm": _product("self", "mat2"),
    "aten._scaled_mm": _product("self", "mat2"),
    "aten.addmm": _product("mat1", "mat2"),
    "aten._addmm_activation": _product("mat1", "mat2"),
    "aten.bmm": _product("self", "mat2"),
    "aten.baddbmm": _product("batch1", "batch2"),
    "aten.mv": _product("self", "vec"),
    "aten.addmv": _product("mat", "vec"),
    "aten.dot": _product("self", "tensor"),
    **for_each(
        _attended,
        "_scaled_dot_product_cudnn_attention _scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention "
        "_scaled_dot_product_flash_attention_for_cpu scaled_dot_product_attention",
    ),
    **for_each(
        mixed,
        "_aminmax _grid_sampler_2d_cpu_fallback _is_all_true _is_any_true _masked_softmax _native_multi_head_attention "
        "_transformer_encoder_layer_fwd _trilinear _weight_norm_interface addbmm addr affine_grid_generator "
        "binary_cross_entropy binary_cross_entropy_with_logits bincount dist fractional_max_pool2d fractional_max_pool3d "
        "grid_sampler_2d grid_sampler_3d huber_loss linspace logspace max_unpool2d max_unpool3d mse_loss "
        "multinomial nanmedian nll_loss2d_forward nll_loss_forward renorm smooth_l1_loss soft_margin_loss trace vdot",
    ),
}
"""By the names of operations; an element-wise operation is here if torch does not tag it so."""
