"""Networks with random tensors, for the proof that ours compute what PyTorch computes.

    python tests/models/export.py FOLDER [full]    exports networks with their logits and gradients to a folder
    python tests/models/export.py small FOLDER     writes logits and gradients of small networks; those of tests/models/small are committed
    python tests/models/export.py keys             prints keys and shapes, which tests/models/keys.txt holds

Needs PyTorch and torchvision, which `benches/setup-peers.sh all` installs. The tests of realsafe-models read the folder
that $REALSAFE_MODELS names. What is there already is kept. With `full`, the widest networks have their full width: 2 GB more.

Of the small networks, every tensor follows from its name by a formula that the tests know, too, so that none is written:
a file has the names, ranges and shapes of all, and the seed of the images.

Every tensor is drawn, running statistics and scales too. Statistics are what random images give, and then changed, so
that neither activations nor logits vanish or explode. Logits, and the gradients of their products with drawn cotangents,
are computed in double precision, at images around which the gradient does not jump. Where torchvision lacks a network, it is written here from its paper.
"""

import copy
import csv
import re
import sys
from pathlib import Path

import numpy
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

CIFAR = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Normalised(nn.Module):
    """A network behind the normalisation of its channels."""

    def __init__(self, network, mean, deviation):
        super().__init__()
        self.network, self.mean, self.deviation = network, mean, deviation

    def forward(self, x):
        mean, deviation = (x.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.deviation))
        return self.network((x - mean) / deviation)


def same(x, stride):
    """The zeros of TensorFlow's SAME around images of even size, for a 3x3 convolution."""
    return functional.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))


class Wide(nn.Module):
    """Zagoruyko and Komodakis's network with the names of TRADES, which has one group that it never uses."""

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride, activation, same):
            super().__init__()
            self.activation, self.same, self.stride = activation, same, stride
            self.bn1 = nn.BatchNorm2d(inputs)
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 0 if same else 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

        def forward(self, x):
            active = self.activation(self.bn1(x))
            y = self.conv1(same(active, self.stride) if self.same else active)
            y = self.conv2(self.activation(self.bn2(y)))
            return y + (self.convShortcut(active) if self.convShortcut else x)

    class Group(nn.Module):
        def __init__(self, blocks):
            super().__init__()
            self.layer = nn.Sequential(*blocks)

        def forward(self, x):
            return self.layer(x)

    def __init__(self, depth, width, activation=functional.relu, same=False, unused=False, classes=10):
        super().__init__()
        self.activation = activation

        def group(inputs, outputs, stride):
            blocks = [self.Block(inputs, outputs, stride, activation, same)]
            blocks += [self.Block(outputs, outputs, 1, activation, same) for _ in range((depth - 4) // 6 - 1)]
            return self.Group(blocks)

        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.block1 = group(16, 16 * width, 1)
        if unused:
            self.sub_block1 = group(16, 16 * width, 1)
        self.block2 = group(16 * width, 32 * width, 2)
        self.block3 = group(32 * width, 64 * width, 2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, classes)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(self.activation(self.bn1(x)).mean((2, 3)))


class PreAct(nn.Module):
    """He et al.'s second paper for small images, in the variants of public checkpoints."""

    class Block(nn.Module):
        def __init__(self, inputs, inner, outputs, stride, style):
            super().__init__()
            self.style, self.stride = style, stride
            side = 0 if style["same"] else 1
            self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(inner)
            self.bottleneck = inner != outputs
            if self.bottleneck:
                self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
                self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
                self.bn3 = nn.BatchNorm2d(inner)
                self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
            else:
                self.conv1 = nn.Conv2d(inputs, inner, 3, stride, side, bias=False)
                self.conv2 = nn.Conv2d(inner, outputs, 3, 1, 1, bias=False)
            self.changes = stride > 1 or inputs != outputs
            if self.changes:
                kernel, padding = (3, side) if style["shortcut"] == "input-3x3" else (1, 0)
                self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False))

        def forward(self, x):
            activation = self.style["activation"]
            pad = (lambda x: same(x, self.stride)) if self.style["same"] else (lambda x: x)
            active = activation(self.bn1(x))
            shortcut = x
            if self.changes:
                shortcut = active if self.style["shortcut"] == "activation" else x
                shortcut = self.shortcut(pad(shortcut) if self.style["shortcut"] == "input-3x3" else shortcut)
            if self.bottleneck:
                y = self.conv2(activation(self.bn2(self.conv1(active))))
                return self.conv3(activation(self.bn3(y))) + shortcut
            return self.conv2(activation(self.bn2(self.conv1(pad(active))))) + shortcut

    def __init__(self, depth=18, shortcut="activation", final=True, activation=functional.relu, same=False):
        super().__init__()
        counts = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}[depth]
        expansion = 4 if depth >= 50 else 1
        self.activation = activation
        style = {"shortcut": shortcut, "activation": activation, "same": same}
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        inputs = 64
        for stage, count in enumerate(counts):
            inner, blocks = 64 * 2**stage, []
            for index in range(count):
                stride = 2 if stage and not index else 1
                blocks.append(self.Block(inputs, inner, inner * expansion, stride, style))
                inputs = inner * expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.bn = nn.BatchNorm2d(inputs) if final else None
        self.linear = nn.Linear(inputs, 10)

    def forward(self, x):
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        if self.bn:
            x = self.activation(self.bn(x))
        return self.linear(x.mean((2, 3)))


class Madry(nn.Module):
    """Madry et al.'s w32-10."""

    class Unit(nn.Module):
        def __init__(self, inputs, outputs, stride, shared):
            super().__init__()
            self.stride, self.shared, self.added = stride, shared, outputs - inputs
            self.init_bn, self.bn2 = nn.BatchNorm2d(inputs, 1e-3), nn.BatchNorm2d(outputs, 1e-3)
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, bias=False)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, bias=False)

        def forward(self, x):
            active = functional.leaky_relu(self.init_bn(x), 0.1)
            shortcut = active if self.shared else x
            shortcut = functional.avg_pool2d(shortcut, self.stride)
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, self.added // 2, self.added // 2))
            y = functional.leaky_relu(self.bn2(self.conv1(same(active, self.stride))), 0.1)
            return self.conv2(same(y, 1)) + shortcut

    def __init__(self, width=10, units=5):
        super().__init__()

        def group(inputs, outputs, stride, shared):
            others = (self.Unit(outputs, outputs, 1, False) for _ in range(units - 1))
            return nn.Sequential(self.Unit(inputs, outputs, stride, shared), *others)

        self.init_conv = nn.Conv2d(3, 16, 3, bias=False)
        self.unit_1 = group(16, 16 * width, 1, True)
        self.unit_2 = group(16 * width, 32 * width, 2, False)
        self.unit_3 = group(32 * width, 64 * width, 2, False)
        self.final_bn = nn.BatchNorm2d(64 * width, 1e-3)
        self.logit = nn.Linear(64 * width, 10)

    def forward(self, x):
        # TensorFlow's per_image_standardization of pixels from 0 to 255.
        x = 255 * x
        deviation = x.std((1, 2, 3), correction=0, keepdim=True).clamp_min(x[0].numel() ** -0.5)
        x = self.init_conv(same((x - x.mean((1, 2, 3), keepdim=True)) / deviation, 1))
        x = functional.leaky_relu(self.final_bn(self.unit_3(self.unit_2(self.unit_1(x)))), 0.1)
        return self.logit(x.mean((2, 3)))


class KerasV2(nn.Module):
    """The ResNet v2 of the Keras example."""

    class Block(nn.Module):
        def __init__(self, inputs, inner, outputs, stride, first, very_first):
            super().__init__()
            self.bn1 = None if very_first else nn.BatchNorm2d(inputs, 1e-3)
            self.conv1 = nn.Conv2d(inputs, inner, 1, stride)
            self.bn2, self.bn3 = nn.BatchNorm2d(inner, 1e-3), nn.BatchNorm2d(inner, 1e-3)
            self.conv2 = nn.Conv2d(inner, inner, 3, 1, 1)
            self.conv3 = nn.Conv2d(inner, outputs, 1)
            self.shortcut = nn.Sequential(*([nn.Conv2d(inputs, outputs, 1, stride)] if first else []))

        def forward(self, x):
            y = functional.relu(self.bn1(x)) if self.bn1 else x
            y = self.conv2(functional.relu(self.bn2(self.conv1(y))))
            return self.conv3(functional.relu(self.bn3(y))) + self.shortcut(x)

    def __init__(self, depth):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16, 1e-3)
        inputs = 16
        for stage, (inner, outputs) in enumerate(((16, 64), (64, 128), (128, 256))):
            blocks = []
            for index in range((depth - 2) // 9):
                stride = 2 if stage and not index else 1
                blocks.append(self.Block(inputs, inner, outputs, stride, not index, not stage and not index))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.bn, self.linear = nn.BatchNorm2d(256, 1e-3), nn.Linear(256, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(functional.relu(self.bn1(self.conv1(x))))))
        return self.linear(functional.relu(self.bn(x)).mean((2, 3)))


class ProjectedV1(nn.Module):
    """He et al.'s first paper for CIFAR-10 with 1x1 convolutions as shortcuts."""

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
            self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
            shortcut = [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)]
            self.shortcut = nn.Sequential(*(shortcut if stride > 1 else []))

        def forward(self, x):
            y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
            return functional.relu(y + self.shortcut(x))

    def __init__(self, blocks):
        super().__init__()

        def layer(inputs, outputs):
            others = (self.Block(outputs, outputs, 1) for _ in range(blocks - 1))
            return nn.Sequential(self.Block(inputs, outputs, outputs // inputs), *others)

        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = layer(16, 16), layer(16, 32), layer(32, 64)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(functional.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


class PaddedV1(nn.Module):
    """He et al.'s first paper for CIFAR-10 with zeros for the new channels, in front and behind or all behind."""

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride, even):
            super().__init__()
            added = outputs - inputs
            self.stride, self.zeros = stride, (added // 2, added // 2) if even else (0, added)
            self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
            self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)

        def forward(self, x):
            y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
            shortcut = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.zeros))
            return functional.relu(y + shortcut)

    def __init__(self, blocks, even):
        super().__init__()

        def layer(inputs, outputs):
            others = (self.Block(outputs, outputs, 1, even) for _ in range(blocks - 1))
            return nn.Sequential(self.Block(inputs, outputs, outputs // inputs, even), *others)

        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = layer(16, 16), layer(16, 32), layer(32, 64)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(functional.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


class MaxMahalanobis(nn.Module):
    """A network of features, whose logits are minus their squared distances to the corners of a regular simplex."""

    def __init__(self, network, classes=10, length=10):
        super().__init__()
        self.network = network
        centres = torch.zeros(classes, 256, dtype=torch.float64)
        centres[0, 0] = 1
        for row in range(1, classes):
            for earlier in range(row):
                product = centres[row] @ centres[earlier]
                centres[row, earlier] = -(1 / (classes - 1) + product) / centres[earlier, earlier]
            centres[row, row] = (1 - centres[row] @ centres[row]).clamp_min(0) ** 0.5
        self.centres = length * centres

    def forward(self, x):
        return -(self.network(x)[:, None] - self.centres.to(x.dtype)).square().sum(2)


class Digits(nn.Module):
    """The small network for digits."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.linear1, self.linear2 = nn.Linear(512, 64), nn.Linear(64, 10)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.conv2(functional.relu(self.conv1(x)))), 2)
        return self.linear2(functional.relu(self.linear1(x.flatten(1))))


class LeNet(nn.Module):
    """AdverTorch's."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)
        self.linear1, self.linear2 = nn.Linear(64 * 49, 200), nn.Linear(200, 10)

    def forward(self, x):
        for conv in (self.conv1, self.conv2):
            x = functional.max_pool2d(functional.relu(conv(x)), 2)
        return self.linear2(functional.relu(self.linear1(x.flatten(1))))


class SmallCnn(nn.Module):
    """TRADES's for MNIST."""

    def __init__(self):
        super().__init__()
        sizes = ((1, 32), (32, 32), (32, 64), (64, 64))
        self.feature_extractor = nn.ModuleDict({f"conv{at + 1}": nn.Conv2d(*size, 3) for at, size in enumerate(sizes)})
        sizes = ((1024, 200), (200, 200), (200, 10))
        self.classifier = nn.ModuleDict({f"fc{at + 1}": nn.Linear(*size) for at, size in enumerate(sizes)})

    def forward(self, x):
        convs, (fc1, fc2, fc3) = list(self.feature_extractor.values()), self.classifier.values()
        for first, second in (convs[:2], convs[2:]):
            x = functional.max_pool2d(functional.relu(second(functional.relu(first(x)))), 2)
        return fc3(functional.relu(fc2(functional.relu(fc1(x.flatten(1))))))


class Verified(nn.Module):
    """The ResNet 2b and 4b of the verification competitions."""

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, stride, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
            self.shortcut = nn.Sequential(*([nn.Conv2d(inputs, outputs, 1, stride)] if stride > 1 else []))

        def forward(self, x):
            return functional.relu(self.conv2(functional.relu(self.conv1(x))) + self.shortcut(x))

    def __init__(self, layers, first, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, first, 3, 2, 1)
        inputs = first
        for layer in range(layers):
            setattr(self, f"layer{layer + 1}", nn.Sequential(self.Block(inputs, width, 2), self.Block(width, width, 1)))
            inputs = width
        self.layers = [getattr(self, f"layer{layer + 1}") for layer in range(layers)]
        self.linear1, self.linear2 = nn.Linear(width * (16 // 2**layers) ** 2, 100), nn.Linear(100, 10)

    def forward(self, x):
        x = functional.relu(self.conv1(x))
        for layer in self.layers:
            x = layer(x)
        return self.linear2(functional.relu(self.linear1(x.flatten(1))))


class SqueezeNet(nn.Module):
    """SqueezeNet 1.0 as its authors trained it with Caffe: bytes, blue first, 227 pixels."""

    def __init__(self):
        super().__init__()
        self.conv1, inputs = nn.Conv2d(3, 96, 7, 2), 96
        for number, (squeezed, expanded) in enumerate(((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)), 2):
            setattr(self, f"fire{number}_squeeze1x1", nn.Conv2d(inputs, squeezed, 1))
            setattr(self, f"fire{number}_expand1x1", nn.Conv2d(squeezed, expanded, 1))
            setattr(self, f"fire{number}_expand3x3", nn.Conv2d(squeezed, expanded, 3, padding=1))
            inputs = 2 * expanded
        self.conv10 = nn.Conv2d(512, 1000, 1)

    def forward(self, x):
        x = 255 * functional.interpolate(x, (227, 227), mode="bilinear").flip(1) - x.new_tensor((104, 117, 123)).view(-1, 1, 1)
        pool = lambda x: functional.max_pool2d(x, 3, 2, ceil_mode=True)
        x = pool(functional.relu(self.conv1(x)))
        for number in range(2, 10):
            part = lambda name: getattr(self, f"fire{number}_{name}")
            x = functional.relu(part("squeeze1x1")(x))
            x = functional.relu(torch.cat((part("expand1x1")(x), part("expand3x3")(x)), 1))
            x = pool(x) if number in (4, 8) else x
        return functional.relu(self.conv10(x)).mean((2, 3))


def stack():
    """Wong and Kolter's convolutions with strides."""
    return nn.Sequential(nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(),
                         nn.Linear(32 * 49, 100), nn.ReLU(), nn.Linear(100, 10))


def features(network):
    """A network that gives 256 features instead of classes."""
    network.linear = nn.Linear(network.linear.in_features, 256)
    return network


def small_resnet(depth):
    """torchvision's network in the form for small images."""
    network = getattr(torchvision.models, f"resnet{depth}")(num_classes=10)
    network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    network.maxpool = nn.Identity()
    return network


def vgg(name, features=None):
    """torchvision's network with smaller linear layers, or with a single one."""
    network = getattr(torchvision.models, name)(num_classes=10)
    if features:
        for index, sizes in ((0, (512 * 49, features)), (3, (features, features)), (6, (features, 10))):
            network.classifier[index] = nn.Linear(*sizes)
    else:
        network.avgpool = nn.AdaptiveAvgPool2d(1)
        network.classifier = nn.Linear(512, 10)
    return network


def inception(auxiliary=True):
    """torchvision's network as it is with its weights, behind the normalisation that those want."""
    options = {"transform_input": True, "init_weights": False, "aux_logits": auxiliary}
    return torchvision.models.inception_v3(num_classes=10, **options)


def renamed(*pairs):
    def rename(key):
        for old, new in pairs:
            key = re.sub(old, new, key)
        return key

    return rename


KUANGLIU = renamed((r"\.downsample\.", ".shortcut."), (r"^fc\.", "linear."))
DEEPMIND = renamed(
    (r"^conv1\.", "init_conv."), (r"^bn1\.", "batchnorm."), (r"^fc\.", "logits."),
    (r"^block1\.layer\.", "layer.0.block."), (r"^block2\.layer\.", "layer.1.block."),
    (r"^block3\.layer\.", "layer.2.block."), (r"\.bn1\.", ".batchnorm_0."), (r"\.bn2\.", ".batchnorm_1."),
    (r"\.conv1\.", ".conv_0."), (r"\.conv2\.", ".conv_1."), (r"\.convShortcut\.", ".shortcut."),
)
DEEPMIND_PREACT = renamed(
    (r"^conv1\.", "conv_2d."), (r"^bn\.", "batchnorm."), (r"^linear\.", "logits."),
    (r"^layer1\.", "layer_0."), (r"^layer2\.", "layer_1."), (r"^layer3\.", "layer_2."), (r"^layer4\.", "layer_3."),
    (r"\.bn1\.", ".batchnorm_0."), (r"\.bn2\.", ".batchnorm_1."), (r"\.conv1\.", ".conv_2d_1."),
    (r"\.conv2\.", ".conv_2d_2."), (r"\.shortcut\.0\.", ".shortcut."),
)
TENSORFLOW = renamed(
    (r"(bn2?)\.weight$", r"\1.BatchNorm.gamma"), (r"(bn2?)\.bias$", r"\1.BatchNorm.beta"),
    (r"\.running_mean$", ".BatchNorm.moving_mean"), (r"\.running_var$", ".BatchNorm.moving_variance"),
    (r"\.weight$", ".DW"), (r"\.bias$", ".biases"), (r"^init_conv", "input.init_conv"),
    (r"^final_bn", "unit_last.final_bn"), (r"^unit_(\d)\.(\d+)\.", r"unit_\1_\2."),
    (r"^unit_1_0\.init_bn", "unit_1_0.shared_activation.init_bn"),
    (r"^(unit_\d_\d+)\.init_bn", r"\1.residual_only_activation.init_bn"),
    (r"^(unit_\d_\d+)\.conv1", r"\1.sub1.conv1"), (r"^(unit_\d_\d+)\.(bn2|conv2)", r"\1.sub2.\2"),
)
ROBUSTNESS = renamed((r"^", "module.model."))

swish = functional.silu
PREACT_SAME = 'shortcut = "input-3x3"; activation = "swish"; padding = "same"'
WIDE_SAME = 'activation = "swish"; padding = "same"'
MEANS = "mean = [0.4914, 0.4822, 0.4465]; deviation = [0.2471, 0.2435, 0.2616]"

# Name, network, normalisation, keys, component, parameters, width of images, how many.
NETWORKS = [
    ("cifar-resnet-20-convolution", lambda: ProjectedV1(3), CIFAR, None, "cifar-resnet",
     f'depth = "20"; shortcut = "convolution"; {MEANS}', 32, 1),
    ("cifar-resnet-v2-56", lambda: KerasV2(56), CIFAR, None, "cifar-resnet-v2", f'depth = "56"; {MEANS}', 32, 1),
    ("madry-resnet-tensorflow", lambda: Madry(3), None, TENSORFLOW, "madry-resnet", "width = 3", 32, 1),
    ("madry-resnet-simple", lambda: Madry(1), None, None, "madry-resnet", "width = 1", 32, 1),
    ("preact-resnet-18", PreAct, CIFAR, None, "preact-resnet", MEANS, 32, 1),
    ("preact-resnet-18-input", lambda: PreAct(shortcut="input", final=False), CIFAR, None, "preact-resnet",
     f'shortcut = "input"; final-batch-norm = false; {MEANS}', 32, 1),
    ("preact-resnet-18-deepmind", lambda: PreAct(shortcut="input-3x3", activation=swish, same=True), CIFAR,
     DEEPMIND_PREACT, "preact-resnet", f"{PREACT_SAME}; {MEANS}", 32, 1),
    ("preact-resnet-50", lambda: PreAct(50), None, None, "preact-resnet", 'depth = "50"; size = 16', 16, 1),
    ("resnet-18-cifar", lambda: small_resnet(18), None, KUANGLIU, "resnet",
     'depth = "18"; stem = "cifar"; classes = 10', 32, 1),
    ("resnet-50-cifar", lambda: small_resnet(50), CIFAR, KUANGLIU, "resnet",
     f'depth = "50"; stem = "cifar"; classes = 10; {MEANS}', 32, 1),
    ("resnet-18", torchvision.models.resnet18, IMAGENET, None, "resnet", 'depth = "18"; size = 72', 72, 1),
    ("resnet-34", torchvision.models.resnet34, IMAGENET, None, "resnet", 'depth = "34"; size = 40', 40, 1),
    ("resnet-50", torchvision.models.resnet50, IMAGENET, ROBUSTNESS, "resnet", 'depth = "50"; size = 40', 40, 1),
    ("resnet-101", torchvision.models.resnet101, IMAGENET, None, "resnet", 'depth = "101"; size = 32', 32, 1),
    ("resnet-152", torchvision.models.resnet152, IMAGENET, None, "resnet", 'depth = "152"; size = 32', 32, 1),
    ("wide-resnet-50-2", torchvision.models.wide_resnet50_2, IMAGENET, None, "resnet",
     'depth = "50"; width = 2; size = 40', 40, 1),
    ("vgg-11", lambda: vgg("vgg11", 32), None, None, "vgg", 'depth = "11"; features = 32; classes = 10; size = 64', 64, 1),
    ("vgg-16", lambda: vgg("vgg16", 32), None, None, "vgg", 'depth = "16"; features = 32; classes = 10; size = 64', 64, 1),
    ("vgg-13-bn", lambda: vgg("vgg13_bn", 32), None, None, "vgg",
     'depth = "13"; batch-norm = true; features = 32; classes = 10; size = 48', 48, 1),
    ("vgg-16-bn-cifar", lambda: vgg("vgg16_bn"), CIFAR, None, "vgg",
     f'depth = "16"; batch-norm = true; head = "linear"; classes = 10; size = 32; {MEANS}', 32, 1),
    ("vgg-19-bn", lambda: vgg("vgg19_bn", 32), None, None, "vgg",
     'depth = "19"; batch-norm = true; features = 32; classes = 10; size = 32', 32, 1),
    ("inception-v3-83", inception, IMAGENET, None, "inception-v3", "classes = 10; size = 83", 83, 1),
    ("inception-v3-75", lambda: inception(False), IMAGENET, None, "inception-v3", "classes = 10; size = 75", 75, 1),
    ("wide-resnet-28-10", lambda: Wide(28, 10), None, None, "wide-resnet", 'depth = "28"; width = 10; size = 16', 16, 1),
    ("wide-resnet-34-10", lambda: Wide(34, 10, unused=True), None, None, "wide-resnet", 'depth = "34"; width = 10; size = 16', 16, 1),
    ("wide-resnet-34-2-deepmind", lambda: Wide(34, 2, swish, True), CIFAR, DEEPMIND, "wide-resnet",
     f'depth = "34"; width = 2; {WIDE_SAME}; {MEANS}', 32, 1),
    ("wide-resnet-70-2-deepmind", lambda: Wide(70, 2, swish, True), CIFAR, DEEPMIND, "wide-resnet",
     f'depth = "70"; width = 2; {WIDE_SAME}; {MEANS}', 32, 1),
]
FULL = [
    ("wide-resnet-34-20", lambda: Wide(34, 20), CIFAR, None, "wide-resnet", f'depth = "34"; width = 20; size = 16; {MEANS}', 16, 1),
    ("wide-resnet-70-16-deepmind", lambda: Wide(70, 16, swish, True), CIFAR, DEEPMIND, "wide-resnet",
     f'depth = "70"; width = 16; size = 16; {WIDE_SAME}; {MEANS}', 16, 1),
]
# One of each family at least, where weights have many keys as many of them as possible: name, network, whether it stands behind a normalisation or a head,
# keys, component, parameters, shape of images.
SMALL = [
    ("cifar-resnet-convolution", lambda: ProjectedV1(3), CIFAR, None, "cifar-resnet",
     f'depth = "20"; shortcut = "convolution"; {MEANS}', (3, 32, 32)),
    ("cifar-resnet-pad-even", lambda: PaddedV1(3, True), None, None, "cifar-resnet",
     'depth = "20"; shortcut = "pad-even"', (3, 32, 32)),
    ("cifar-resnet-pad-behind", lambda: PaddedV1(3, False), None, None, "cifar-resnet",
     'depth = "20"; shortcut = "pad-behind"', (3, 32, 32)),
    ("cifar-resnet-v2", lambda: KerasV2(11), CIFAR, None, "cifar-resnet-v2", f'depth = "11"; {MEANS}', (3, 32, 32)),
    ("cifar-resnet-v2-head", lambda: features(KerasV2(11)), MaxMahalanobis, None, "cifar-resnet-v2",
     'depth = "11"; head = "max-mahalanobis"', (3, 32, 32)),
    ("convolution-stack", stack, None, None, "convolution-stack", "", (1, 28, 28)),
    ("digits-cnn", Digits, None, None, "digits-cnn", "", (1, 8, 8)),
    ("inception-v3", inception, IMAGENET, None, "inception-v3", "classes = 10; size = 75", (3, 75, 75)),
    ("lenet", LeNet, None, None, "lenet", "", (1, 28, 28)),
    ("madry-resnet-tensorflow", lambda: Madry(2, 2), None, TENSORFLOW, "madry-resnet", "width = 2; units = 2", (3, 32, 32)),
    ("madry-resnet", lambda: Madry(1, 2), None, None, "madry-resnet", "width = 1; units = 2", (3, 32, 32)),
    ("preact-resnet", PreAct, CIFAR, None, "preact-resnet", f"size = 16; {MEANS}", (3, 16, 16)),
    ("preact-resnet-input", lambda: PreAct(shortcut="input", final=False), None, None, "preact-resnet",
     'size = 16; shortcut = "input"; final-batch-norm = false', (3, 16, 16)),
    ("preact-resnet-deepmind", lambda: PreAct(shortcut="input-3x3", activation=swish, same=True), None,
     DEEPMIND_PREACT, "preact-resnet", f"size = 16; {PREACT_SAME}", (3, 16, 16)),
    ("preact-resnet-50", lambda: PreAct(50), None, None, "preact-resnet", 'depth = "50"; size = 8', (3, 8, 8)),
    ("resnet-cifar", lambda: small_resnet(18), None, KUANGLIU, "resnet",
     'depth = "18"; stem = "cifar"; size = 16; classes = 10', (3, 16, 16)),
    ("resnet", torchvision.models.resnet18, IMAGENET, None, "resnet", 'depth = "18"; size = 40', (3, 40, 40)),
    ("resnet-50-robustness", torchvision.models.resnet50, IMAGENET, ROBUSTNESS, "resnet", 'depth = "50"; size = 32', (3, 32, 32)),
    ("small-cnn", SmallCnn, None, None, "small-cnn", "", (1, 28, 28)),
    ("small-resnet-2b", lambda: Verified(1, 8, 16), CIFAR, None, "small-resnet", 'architecture = "resnet2b"', (3, 32, 32)),
    ("small-resnet-4b", lambda: Verified(2, 16, 32), CIFAR, None, "small-resnet", 'architecture = "resnet4b"', (3, 32, 32)),
    ("squeezenet", SqueezeNet, None, None, "squeezenet", "size = 32", (3, 32, 32)),
    ("vgg", lambda: vgg("vgg11", 16), None, None, "vgg", 'depth = "11"; features = 16; classes = 10; size = 32', (3, 32, 32)),
    ("vgg-bn-linear", lambda: vgg("vgg13_bn"), None, None, "vgg",
     'depth = "13"; batch-norm = true; head = "linear"; classes = 10; size = 32', (3, 32, 32)),
    ("wide-resnet", lambda: Wide(16, 2, unused=True), None, None, "wide-resnet", 'depth = "16"; width = 2; size = 16', (3, 16, 16)),
    ("wide-resnet-deepmind", lambda: Wide(10, 2, swish, True), CIFAR, DEEPMIND, "wide-resnet",
     f'depth = "10"; width = 2; size = 16; {WIDE_SAME}; {MEANS}', (3, 16, 16)),
]
# Those whose keys and shapes are listed.
LISTED = [
    (lambda: KerasV2(11), None, "cifar-resnet-v2", 'depth = "11"'),
    (lambda: Madry(1, 2), TENSORFLOW, "madry-resnet", "width = 1; units = 2"),
    (PreAct, None, "preact-resnet", ""),
    (lambda: PreAct(shortcut="input-3x3"), DEEPMIND_PREACT, "preact-resnet", 'shortcut = "input-3x3"'),
    (lambda: small_resnet(18), KUANGLIU, "resnet", 'depth = "18"; stem = "cifar"; classes = 10'),
    (torchvision.models.resnet18, None, "resnet", 'depth = "18"'),
    (lambda: torchvision.models.resnet50(num_classes=10), ROBUSTNESS, "resnet", 'depth = "50"; classes = 10'),
    (lambda: vgg("vgg11", 16), None, "vgg", 'depth = "11"; features = 16; classes = 10'),
    (lambda: vgg("vgg16_bn"), None, "vgg", 'depth = "16"; batch-norm = true; head = "linear"; classes = 10'),
    (inception, None, "inception-v3", "classes = 10"),
    (lambda: Wide(10, 1, unused=True), None, "wide-resnet", 'depth = "10"; width = 1'),
    (lambda: Wide(16, 1), DEEPMIND, "wide-resnet", 'depth = "16"; width = 1'),
]


def randomise(network, images):
    """Draws every tensor, and gives logits a deviation of one."""
    network.eval()
    # What blocks hold comes before them.
    for module in reversed(list(network.modules())):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, 0, (2 / module.weight[0].numel()) ** 0.5)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            module.momentum = 1.0
            # Alone: auxiliary outputs, which only training has, want larger images.
            module.train()
        if hasattr(module, "conv2") and hasattr(module, "bn2"):
            # The end of a residual branch; small, such that deep networks do not amplify what rounding does.
            last = "3" if hasattr(module, "conv3") else "2"
            nn.init.normal_(getattr(module, f"conv{last}").weight, 0, 0.5 / getattr(module, f"conv{last}").weight[0].numel() ** 0.5)
            nn.init.uniform_(getattr(module, f"bn{last}").weight, 0.2, 0.5)
    with torch.no_grad():
        network(images)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                deviation = module.running_var.sqrt()
                module.running_mean += 0.1 * deviation * torch.randn_like(deviation)
                module.running_var *= torch.empty_like(deviation).uniform_(0.8, 1.25)
        last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
        last.weight /= network.eval()(images).std()


def differentiate(network, images, cotangents):
    images = images.clone().requires_grad_()
    logits = network(images)
    (logits * cotangents.to(logits.dtype)).sum().backward()
    return logits.detach(), images.grad


def smooth(network, draw, noise=1e-7):
    """Images around which the gradient does not jump, as it does where a relu or a maximum changes over, with logits,
    cotangents and gradient. Rounding alone would make such a jump: single precision and small noise must not."""
    single = copy.deepcopy(network).float()
    for seed in range(200):
        images = draw("images", seed, None)
        cotangents = draw("cotangents", seed, network(images).shape)
        logits, gradient = differentiate(network, images, cotangents)

        def is_close(network, images):
            other = differentiate(network, images, cotangents)[1]
            return (other - gradient).abs().max() < 3e-5 * gradient.abs().max()

        if is_close(single, images.float()) and all(
            is_close(network, images + noise * torch.randn_like(images)) for _ in range(2)
        ):
            return seed, {"images": images, "cotangents": cotangents, "logits": logits, "gradient": gradient}
    sys.exit("error: the gradient jumps everywhere")


def formula(name, low, high, shape):
    """Values from `low` to `high` that follow from a name and their places; `src/tests/small.rs` of realsafe-models has the same."""
    seed = 2166136261
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 & 0xFFFFFFFF
    bits = numpy.arange(numpy.prod(shape, dtype=int), dtype=numpy.uint32) * numpy.uint32(0x9E3779B9) + numpy.uint32(seed)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = (bits ^ bits >> numpy.uint32(shift)) * numpy.uint32(factor)
    bits ^= bits >> numpy.uint32(16)
    values = low + (high - low) * ((bits >> numpy.uint32(8)) / 2.0**24)
    return torch.from_numpy(values.astype(numpy.float32).reshape(shape))


def ranges(network):
    """From which range each tensor of a network is drawn, such that activations neither vanish nor explode."""
    found = {}
    for name, module in network.named_modules():
        ends_branch = re.search(r"(conv|bn)3$", name) or (
            re.search(r"(conv|bn)2$", name) and not hasattr(network.get_submodule(name.rpartition(".")[0]), "conv3"))
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            # The end of a residual branch is small, such that deep networks do not amplify what rounding does.
            width = ((0.75 if ends_branch and "." in name else 6) / module.weight[0].numel()) ** 0.5
            found[name + ".weight"], found[name + ".bias"] = (-width, width), (-0.2, 0.2)
        elif isinstance(module, nn.BatchNorm2d):
            found[name + ".weight"] = (0.2, 0.5) if ends_branch and "." in name else (0.5, 1.5)
            found[name + ".bias"], found[name + ".running_mean"] = (-0.3, 0.3), (-0.3, 0.3)
            found[name + ".running_var"], found[name + ".num_batches_tracked"] = (0.8, 1.25), (0, 0)
    return {key: tuple(float(f"{value:.4g}") for value in range) for key, range in found.items()}


def export_small(folder, name, build, around, rename, component, parameters, shape):
    bare = build().eval()
    network = around(bare) if isinstance(around, type) else Normalised(bare, *around) if around else bare
    found, lines = ranges(bare), []
    with torch.no_grad():
        for key, tensor in bare.state_dict().items():
            public, (low, high) = (rename or str)(key), found[key]
            tensor.copy_(formula(public, low, high, tuple(tensor.shape)))
            lines.append(" ".join(map(str, (f"{public}:", low, high, *tensor.shape))))
    network.eval().double().requires_grad_(False)
    draw = lambda what, seed, size: formula(f"{what} {seed}", what == "cotangents" and -1, 1, size or (1, *shape)).double()
    seed, expected = smooth(network, draw, noise=3e-7)
    about = {"component": component, "parameters": parameters.replace("; ", "\n"), "seed": str(seed), "tensors": "\n".join(lines)}
    kept = {key: expected[key].float().contiguous() for key in ("logits", "gradient")}
    save_file(kept, folder / f"{name}.safetensors", about)
    print(f"{name}: seed {seed}, logits of a deviation of {float(expected['logits'].std()):.2g}, "
          f"gradients up to {float(expected['gradient'].abs().max()):.2g}", flush=True)


def export(folder, name, build, normalisation, rename, component, parameters, size, count):
    row = [name, component, parameters.replace("; ", "\n")]
    if (folder / f"{name}-expected.pt").exists():
        return row
    torch.manual_seed(sum(name.encode()))
    bare = build()
    network = Normalised(bare, *normalisation) if normalisation else bare
    randomise(network, torch.rand(4, 3, size, size))
    network.double().requires_grad_(False)
    draws = {"images": lambda _: torch.rand(count, 3, size, size), "cotangents": torch.randn}
    _, expected = smooth(network, lambda what, _, shape: draws[what](shape).float().double())
    state = {(rename or str)(key): value.float() for key, value in bare.state_dict().items()}
    torch.save(state, folder / f"{name}.pt")
    torch.save({key: value.float().contiguous() for key, value in expected.items()}, folder / f"{name}-expected.pt")
    print(f"exported {name}", flush=True)
    return row


def main(arguments):
    if arguments[:1] == ["keys"]:
        for build, rename, component, parameters in LISTED:
            with torch.device("meta"):
                network = build()
            print(f"# {component} {parameters}".rstrip())
            for key, value in network.state_dict().items():
                print(f"{(rename or str)(key)}:", *value.shape)
        return
    if len(arguments) == 2 and arguments[0] == "small":
        folder = Path(arguments[1])
        folder.mkdir(parents=True, exist_ok=True)
        return [export_small(folder, *network) for network in SMALL]
    if not arguments:
        sys.exit(__doc__)
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "networks.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["name", "component", "parameters"])
        for network in NETWORKS + (FULL if arguments[1:] == ["full"] else []):
            table.writerow(export(folder, *network))


main(sys.argv[1:])
