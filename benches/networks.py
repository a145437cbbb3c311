"""Networks and images of the data directory, in PyTorch.

The data directory is $REALSAFE_DATA.
"""

import csv
import gzip
import os
import sys
from pathlib import Path

import numpy
import torch
from torch import nn
from torch.nn import functional


def data_folder():
    if "REALSAFE_DATA" not in os.environ:
        sys.exit("error: set REALSAFE_DATA to the folder with mnist/, cifar-10-batches-bin/ and weights/")
    return Path(os.environ["REALSAFE_DATA"])


class LeNet(nn.Module):
    """AdverTorch's LeNet-5 with the names of its checkpoint."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.linear1 = nn.Linear(64 * 7 * 7, 200)
        self.linear2 = nn.Linear(200, 10)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        return self.linear2(functional.relu(self.linear1(x.flatten(1))))


class Normalised(nn.Module):
    def __init__(self, network, mean, std):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1))

    def forward(self, x):
        return self.network((x - self.mean) / self.std)


class PlainBlock(nn.Module):
    """The block without batch normalisation of the α,β-CROWN networks."""

    def __init__(self, channels, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, 1)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1)
        shortcut = stride != 1 or channels != planes
        self.shortcut = nn.Sequential(*[nn.Conv2d(channels, planes, 1, stride)] if shortcut else [])

    def forward(self, x):
        return functional.relu(self.conv2(functional.relu(self.conv1(x))) + self.shortcut(x))


class PlainResNet(nn.Module):
    """resnet4b of α,β-CROWN, shaped by the tensors of its checkpoint."""

    def __init__(self, state):
        super().__init__()
        first = state["conv1.weight"]
        self.conv1 = nn.Conv2d(first.shape[1], first.shape[0], first.shape[2], 2, 1)
        channels = first.shape[0]
        for layer in (1, 2):
            blocks = []
            for stride in (2, 1):
                planes = state[f"layer{layer}.{len(blocks)}.conv1.weight"].shape[0]
                blocks.append(PlainBlock(channels, planes, stride))
                channels = planes
            setattr(self, f"layer{layer}", nn.Sequential(*blocks))
        self.linear1 = nn.Linear(state["linear1.weight"].shape[1], 100)
        self.linear2 = nn.Linear(100, 10)

    def forward(self, x):
        x = self.layer2(self.layer1(functional.relu(self.conv1(x))))
        return self.linear2(functional.relu(self.linear1(x.flatten(1))))


def load(name):
    """A network in evaluation mode and single precision that takes pixels in [0, 1]."""
    files = {"mnist-lenet5-standard": "mnist-lenet5-standard.pt", "mnist-lenet5-pgd-at": "mnist-lenet5-pgd-at.pt",
             "cifar10-resnet4b-adv": "cifar10-resnet4b-adv.pth"}
    state = torch.load(data_folder() / "weights" / files[name], map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    if name.startswith("mnist"):
        network = LeNet()
        network.load_state_dict(state)
    else:
        plain = PlainResNet(state)
        plain.load_state_dict(state)
        network = Normalised(plain, (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
    return network.eval()


def images(name, count):
    """The first test images of a network's dataset in [0, 1], and their labels."""
    if name.startswith("mnist"):
        with gzip.open(data_folder() / "mnist/t10k-images-idx3-ubyte.gz") as file:
            pixels = numpy.frombuffer(file.read(), numpy.uint8, offset=16).reshape(-1, 1, 28, 28)[:count]
        with gzip.open(data_folder() / "mnist/t10k-labels-idx1-ubyte.gz") as file:
            labels = numpy.frombuffer(file.read(), numpy.uint8, offset=8)[:count]
    else:
        records = numpy.fromfile(data_folder() / "cifar-10-batches-bin/test_batch.bin", numpy.uint8)
        records = records.reshape(-1, 3073)[:count]
        labels, pixels = records[:, 0], records[:, 1:].reshape(-1, 3, 32, 32)
    return torch.from_numpy(pixels.astype(numpy.float32) / 255), torch.from_numpy(labels.astype(numpy.int64))


def rows(path, **filters):
    """The rows of a samples.csv whose columns equal the filters."""
    with Path(path).open(newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[name] == value for name, value in filters.items())]
