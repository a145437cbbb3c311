"""The peer of the PGD benchmark: torchattacks' PGD-40 on the network, images and budget of benches/pgd.toml.

    target/peers/bin/python benches/pgd_peer.py [--batch 100]

Prints one line of JSON: seconds of the whole program since its first import, seconds of the attack, and the robust
accuracy of the returned images. Data and weights lie under $REALSAFE_DATA.
"""

import time

started = time.perf_counter()

import argparse
import json
import os
from pathlib import Path

import numpy
import torch
import torchattacks
from torch import nn
from torch.nn import functional

SAMPLES = 1000
EPS = 4 / 255
STEPS = 40


class Block(nn.Module):
    """A basic residual block whose shortcut subsamples by the stride and appends zero channels."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv_a = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn_a = nn.BatchNorm2d(outputs)
        self.conv_b = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn_b = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.added = outputs - inputs

    def forward(self, x):
        y = functional.relu(self.bn_a(self.conv_a(x)))
        y = self.bn_b(self.conv_b(y))
        if self.added:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        return functional.relu(x + y)


class ResNet20(nn.Module):
    """ResNet-20 with the names of its checkpoint."""

    def __init__(self):
        super().__init__()
        self.conv_1_3x3 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn_1 = nn.BatchNorm2d(16)
        self.stage_1 = self.stage(16, 16, 1)
        self.stage_2 = self.stage(16, 32, 2)
        self.stage_3 = self.stage(32, 64, 2)
        self.classifier = nn.Linear(64, 10)

    @staticmethod
    def stage(inputs, outputs, stride):
        return nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1), Block(outputs, outputs, 1))

    def forward(self, x):
        x = functional.relu(self.bn_1(self.conv_1_3x3(x)))
        x = self.stage_3(self.stage_2(self.stage_1(x)))
        return self.classifier(x.mean((2, 3)))


def load(data):
    """The network in evaluation state, and the first images and labels of the test set."""
    model = ResNet20()
    checkpoint = torch.load(data / "weights/cifar10-resnet20-pgd-at.pth", map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["state_dict"])
    records = numpy.fromfile(data / "cifar-10-batches-bin/test_batch.bin", numpy.uint8).reshape(-1, 3073)[:SAMPLES]
    images = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).astype(numpy.float32) / 255)
    return model.eval(), images, torch.from_numpy(records[:, 0].astype(numpy.int64))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=100, help="images per batch (default: %(default)s)")
    batch = parser.parse_args().batch
    if "REALSAFE_DATA" not in os.environ:
        parser.error("set REALSAFE_DATA to the folder with cifar-10-batches-bin/ and weights/")

    torch.manual_seed(0)
    model, images, labels = load(Path(os.environ["REALSAFE_DATA"]))
    attack = torchattacks.PGD(model, eps=EPS, alpha=EPS / 10, steps=STEPS, random_start=True)

    attack_started = time.perf_counter()
    chunks = [attack(x, y) for x, y in zip(images.split(batch), labels.split(batch))]
    attack_seconds = time.perf_counter() - attack_started

    with torch.no_grad():
        correct = sum((model(x).argmax(1) == y).sum().item() for x, y in zip(chunks, labels.split(batch)))
    print(
        json.dumps(
            {
                "seconds": round(time.perf_counter() - started, 3),
                "attack-seconds": round(attack_seconds, 3),
                "robust-accuracy": correct / SAMPLES,
            }
        )
    )


if __name__ == "__main__":
    main()
