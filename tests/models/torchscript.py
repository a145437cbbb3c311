"""Exports the network that the program carries as `digits-standard` to TorchScript.

    python tests/models/torchscript.py FILE

Needs PyTorch and safetensors. `tests/specs/digits-standard.pt` is what it wrote.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional


class DigitsCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.linear1, self.linear2 = nn.Linear(32 * 4 * 4, 64), nn.Linear(64, 10)

    def forward(self, images):
        hidden = functional.max_pool2d(functional.relu(self.conv2(functional.relu(self.conv1(images)))), 2)
        return self.linear2(functional.relu(self.linear1(hidden.flatten(1))))


weights = Path(__file__).parents[2] / "crates/realsafe-models/weights/digits-standard.safetensors"
model = DigitsCnn().eval()
model.load_state_dict(load_file(weights))
torch.jit.script(model).save(sys.argv[1])
