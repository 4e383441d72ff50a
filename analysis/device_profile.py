"""What a device can do at most: arithmetic by number type and memory bandwidth, for the roofline."""

from dataclasses import dataclass

from search_spaces.errors import UserError, unknown_name

_TERA = 1e12
_GIGA = 1e9


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """The limits of a device: FLOPs a second by number type, and bytes a second to and from its memory.

    Figures are the makers' own, dense (without structured sparsity), with tensor cores where the number type has them
    without a change of precision: float32 is plain float32, not TF32.
    """

    name: str
    flops_per_second: dict[str, float]
    bytes_per_second: float
    source: str

    def peak(self, dtype: str) -> float:
        """The FLOPs a second with numbers of this type.

        Raises:
            UserError: the profile does not tell.
        """
        if dtype not in self.flops_per_second:
            known = ", ".join(self.flops_per_second)
            raise UserError(f"the device profile {self.name!r} has no figure for {dtype}; it has {known}")
        return self.flops_per_second[dtype]


def _profile(name: str, gigabytes_per_second: float, source: str, teraflops: dict[str, float]) -> DeviceProfile:
    flops_per_second = {dtype: _TERA * figure for dtype, figure in teraflops.items()}
    return DeviceProfile(name, flops_per_second, _GIGA * gigabytes_per_second, source)


PROFILES: dict[str, DeviceProfile] = {
    profile.name: profile
    for profile in (
        _profile(
            "h100-sxm",
            3_350,
            "NVIDIA H100 Tensor Core GPU data sheet (figures with sparsity halved)",
            {"float64": 34, "float32": 67, "float16": 989.5, "bfloat16": 989.5},
        ),
        _profile(
            "a100-sxm-80gb",
            2_039,
            "NVIDIA A100 Tensor Core GPU data sheet",
            {"float64": 9.7, "float32": 19.5, "float16": 312, "bfloat16": 312},
        ),
        _profile(
            "v100-sxm2",
            900,
            "NVIDIA V100 Tensor Core GPU data sheet",
            {"float64": 7.8, "float32": 15.7, "float16": 125},
        ),
        _profile(
            "l4",
            300,
            "NVIDIA L4 Tensor Core GPU data sheet (figures with sparsity halved)",
            {"float32": 30.3, "float16": 121, "bfloat16": 121},
        ),
        _profile(
            "rtx-4090",
            1_008,
            "NVIDIA Ada GPU architecture white paper, appendix A",
            {"float32": 82.6, "float16": 165.2, "bfloat16": 165.2},
        ),
        _profile(
            "cpu-core-avx2",
            20,
            "arithmetic: 3 GHz, two fused multiply-adds of 8 floats; bandwidth: assumed",
            {"float64": 0.048, "float32": 0.096},
        ),
    )
}
"""The devices known by name."""


def find_profile(name: str) -> DeviceProfile:
    """The profile called `name`.

    Raises:
        UserError: there is none.
    """
    if name not in PROFILES:
        raise unknown_name("device profile", name, PROFILES)
    return PROFILES[name]
