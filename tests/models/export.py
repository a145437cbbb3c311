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
are computed in double precision, at images around which the gradient does not jump. Where torchvision lacks a network, `networks.py` has it.
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

from networks import (
    Digits, KerasV2, LeNet, Madry, MaxMahalanobis, PaddedV1, PreAct, ProjectedV1, SmallCnn, SqueezeNet, Verified, Wide,
    features, inception, small_resnet, stack, vgg,
)

CIFAR = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Normalised(nn.Module):
    """A network behind the normalisation of its channels."""

    def __init__(self, network, mean, deviation):
        super().__init__()
        self.network, self.mean, self.deviation = network, mean, deviation

    def forward(self, x):
        mean, deviation = (x.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.deviation))
        return self.network((x - mean) / deviation)


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
