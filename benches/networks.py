"""Networks and images of the data directory, in PyTorch: what the scripts that run other libraries have in common.

The data directory is $REALSAFE_DATA. Networks are in evaluation mode and normalise their input themselves; images are
the first ones of the official test sets, with pixels in [0, 1].
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
    """A network behind the normalisation of its channels."""

    def __init__(self, network, mean, deviation):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(-1, 1, 1))

    def forward(self, x):
        return self.network((x - self.mean) / self.deviation)


class PlainBlock(nn.Module):
    """A residual block without batch norm, whose shortcut is a 1x1 convolution where it has a stride."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Sequential(*([nn.Conv2d(inputs, outputs, 1, stride)] if stride > 1 else []))

    def forward(self, x):
        y = self.conv2(functional.relu(self.conv1(x)))
        return functional.relu(y + self.shortcut(x))


class ResNet4b(nn.Module):
    """The small residual network of alpha-beta-CROWN with the names of its checkpoint."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1)
        self.layer1 = nn.Sequential(PlainBlock(16, 32, 2), PlainBlock(32, 32, 1))
        self.layer2 = nn.Sequential(PlainBlock(32, 32, 2), PlainBlock(32, 32, 1))
        self.linear1 = nn.Linear(512, 100)
        self.linear2 = nn.Linear(100, 10)

    def forward(self, x):
        x = self.layer2(self.layer1(functional.relu(self.conv1(x)))).flatten(1)
        return self.linear2(functional.relu(self.linear1(x)))


class Block(nn.Module):
    """A basic residual block whose shortcut subsamples by the stride and appends channels of zeros."""

    def __init__(self, inputs, outputs, stride, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.channels = channels

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride > 1:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.channels))
        return functional.relu(x + y)


class CifarResNet(nn.Module):
    """A residual network for CIFAR-10, with zeros in front of the shortcut's channels and behind, or behind alone."""

    def __init__(self, blocks, even):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)

        def layer(inputs, outputs, stride):
            added = outputs - inputs
            first = Block(inputs, outputs, stride, (added // 2, added // 2) if even else (0, added))
            return nn.Sequential(first, *(Block(outputs, outputs, 1, (0, 0)) for _ in range(blocks - 1)))

        self.layer1, self.layer2, self.layer3 = layer(16, 16, 1), layer(16, 32, 2), layer(32, 64, 2)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


CIFAR = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# What the checkpoint of the adversarially trained ResNet-20 calls its layers.
RENAMES = {
    "conv_1_3x3": "conv1", "bn_1": "bn1", "stage_": "layer", "conv_a": "conv1", "bn_a": "bn1",
    "conv_b": "conv2", "bn_b": "bn2", "classifier": "linear", "module.": "",
}
# File, network, and mean and deviation where it has a normalisation.
NETWORKS = {
    "mnist-lenet5-standard": ("mnist-lenet5-standard.pt", LeNet, None),
    "mnist-lenet5-pgd-at": ("mnist-lenet5-pgd-at.pt", LeNet, None),
    "cifar10-resnet4b-adv": ("cifar10-resnet4b-adv.pth", ResNet4b, CIFAR),
    "cifar10-resnet20-standard": ("cifar10-resnet20-standard.th", lambda: CifarResNet(3, True), IMAGENET),
    "cifar10-resnet20-pgd-at": ("cifar10-resnet20-pgd-at.pth", lambda: CifarResNet(3, False), None),
    "cifar10-resnet56-standard": ("cifar10-resnet56-standard.th", lambda: CifarResNet(9, True), IMAGENET),
}


def data_directory():
    if "REALSAFE_DATA" not in os.environ:
        sys.exit("error: set REALSAFE_DATA to the folder with mnist/, cifar-10-batches-bin/ and weights/")
    return Path(os.environ["REALSAFE_DATA"])


def load(name):
    """A network with its published weights, in evaluation mode; its parameters need no gradients."""
    file, build, normalisation = NETWORKS[name]
    state = torch.load(data_directory() / "weights" / file, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    if build not in (LeNet, ResNet4b):
        for old, new in RENAMES.items():
            state = {key.replace(old, new): value for key, value in state.items()}
    network = build()
    network.load_state_dict(state)
    if normalisation:
        network = Normalised(network, *normalisation)
    return network.eval().requires_grad_(False)


def images(name, count):
    """The first test images of a network's dataset, `[n, channels, height, width]`, and their labels."""
    if name.startswith("mnist"):
        with gzip.open(data_directory() / "mnist/t10k-images-idx3-ubyte.gz") as file:
            pixels = numpy.frombuffer(file.read(), numpy.uint8, offset=16).reshape(-1, 1, 28, 28)[:count]
        with gzip.open(data_directory() / "mnist/t10k-labels-idx1-ubyte.gz") as file:
            labels = numpy.frombuffer(file.read(), numpy.uint8, offset=8)[:count]
    else:
        records = numpy.fromfile(data_directory() / "cifar-10-batches-bin/test_batch.bin", numpy.uint8)
        records = records.reshape(-1, 3073)[:count]
        pixels, labels = records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    return torch.from_numpy(pixels.astype(numpy.float32) / 255), torch.from_numpy(labels.astype(numpy.int64))


def rows(path, **filters):
    """The rows of a samples.csv whose columns equal the filters; numbers are compared as numbers."""

    def equal(text, value):
        return float(text) == float(value) if isinstance(value, (int, float)) and text else text == str(value)

    with Path(path).open(newline="") as file:
        found = csv.DictReader(file)
        return [row for row in found if all(equal(row[column], value) for column, value in filters.items())]
