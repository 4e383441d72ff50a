"""Any torch model, looked at as our own architectures are: what it costs, holds and sees, from one run of it.

`run` lends the model (`lending`) and records what torch does (`recorder`) on a `tape`; `macs`, `receptive_field` and
`layers` read the tape; `training` plays a step with gradients. `report` puts it together. Importing this imports torch.
"""

from analysis.torch_model.loading import load_module
from analysis.torch_model.report import ModuleReport, Uncounted, analyze_module
from analysis.torch_model.run import Input
from analysis.torch_model.training import Untrainable

__all__ = ["Input", "ModuleReport", "Uncounted", "Untrainable", "analyze_module", "load_module"]
