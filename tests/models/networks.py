"""Networks in PyTorch that `export.py` compares ours with, where torchvision lacks them: written from their papers."""

import torch
import torchvision
from torch import nn
from torch.nn import functional


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
