"""Networks for the engine's tests."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm


@pytest.fixture
def calibrated():
    """Batch norms that normalize: their statistics are those of the given inputs, scale and shift are random.

    Networks with random weights and default statistics let their signal die out, and then every sum rule holds.
    """

    def calibrate(model, inputs, *, seed=0):
        stream = torch.Generator().manual_seed(seed)
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        model.eval()
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
            with torch.no_grad():
                norm.weight.copy_(torch.empty_like(norm.weight).uniform_(0.5, 1.5, generator=stream))
                norm.bias.copy_(torch.empty_like(norm.bias).normal_(0, 0.3, generator=stream))
        if norms:
            with torch.no_grad():
                model(inputs)
        for norm in norms:
            norm.running_var.clamp_(min=1e-3)
        return model.eval()

    return calibrate
