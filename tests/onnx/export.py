"""Exports PyTorch networks to ONNX, with logits and input gradients that PyTorch computes in double precision.

    python tests/onnx/export.py operators FOLDER     tiny networks, one per group of operators; committed
    python tests/onnx/export.py small FOLDER         classifiers of torchvision and timm, as small as they can be made; committed
    python tests/onnx/export.py classifiers FOLDER   classifiers of torchvision and timm as they are, with random weights
    python tests/onnx/export.py references FOLDER    the same, but only what PyTorch computes of them
    python tests/onnx/export.py timm FOLDER          only those of timm
    python tests/onnx/export.py digits FILE          the network that the program carries as `digits-standard-onnx`

Each network becomes NAME.onnx and NAME.safetensors, which holds `images`, `logits`, `cotangents` and `gradients`: those of
the sum of logits times cotangents with respect to the images. Classifiers are exported by both exporters of PyTorch.
Needs torch 2.9, torchvision, onnx, onnxscript and, for the classifiers, timm.
"""
import copy
import pathlib
import sys
import warnings

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

warnings.filterwarnings("ignore")


class Lambda(nn.Module):
    """A function as a network; its parameters are those of the modules it is given."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, images):
        return self.function(self, images).flatten(1)


def operators():
    """Tiny networks, each with an image shape; together they have every operator that is supported."""
    torch.manual_seed(0)
    linear = lambda i, o: nn.Linear(i, o)
    yield "convolutions", (3, 9, 8), Lambda(
        lambda m, x: m.c(F.conv2d(m.b(m.a(x)), m.w, padding=(1, 0))),
        a=nn.Conv2d(3, 6, 3, stride=2, padding=1), b=nn.Conv2d(6, 6, 3, groups=3, padding=2, dilation=2),
        w=nn.Parameter(torch.randn(4, 6, 3, 1)), c=nn.Conv2d(4, 4, (1, 3), padding="same", bias=False))
    yield "normalisations", (4, 5, 4), Lambda(
        lambda m, x: m.layer(m.group(m.instance(m.batch(x)))) + m.batch2(x + 1),
        batch=nn.BatchNorm2d(4), batch2=nn.BatchNorm2d(4), instance=nn.InstanceNorm2d(4, affine=True),
        group=nn.GroupNorm(2, 4), layer=nn.LayerNorm([5, 4]))
    yield "activations", (2, 3, 4), Lambda(lambda m, x: torch.cat([f(x * 6 - 3) for f in (
        F.relu, F.leaky_relu, torch.sigmoid, F.hardsigmoid, F.hardswish, F.gelu, torch.tanh, F.silu, F.mish, F.relu6,
        F.elu, F.selu, F.softplus, torch.erf, lambda t: F.gelu(t, approximate="tanh"), m.prelu, F.softsign,
        F.celu)], 1), prelu=nn.PReLU(2))
    yield "elementwise", (2, 3, 4), Lambda(lambda m, x: torch.cat([
        x + m.w, x - m.w, x * m.w, x / (m.w.abs() + 1), (x + 0.1) ** 2, (x + 0.5) ** 0.5, torch.sqrt(x + 0.1),
        torch.exp(x), torch.log(x + 0.1), -x, (x - 0.4).abs(), torch.minimum(x, m.w), torch.maximum(x, m.w),
        1 / (x + 1), x.clamp(0.2, 0.7), torch.where(x > 0.5, x * 2, m.w.expand_as(x)), (x + m.w).sin(), x.cos(),
        torch.where((x < 0.3) | ~(x <= 0.6), x, -x), (x * 3).floor() * x, (x * 3).ceil() + x, x.round() + x,
        (x - 0.5).sign() * x, torch.rsqrt(x + 1), torch.atan(x), torch.log1p(x)], 1), w=nn.Parameter(torch.randn(2, 1, 4)))
    yield "pooling", (2, 9, 10), Lambda(lambda m, x: torch.cat([t.flatten(1) for t in (
        F.max_pool2d(x, 3, 2, 1), F.max_pool2d(x, 2, ceil_mode=True), F.avg_pool2d(x, 2, ceil_mode=True),
        F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), F.avg_pool2d(x, 3, 2, 1), F.adaptive_avg_pool2d(x, 1),
        F.adaptive_max_pool2d(x, 1), F.max_pool2d(x, 3, 1, 1, dilation=1),
        F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False), F.adaptive_avg_pool2d(x, (3, 5)))], 1))
    yield "products", (2, 3, 4), Lambda(
        lambda m, x: m.c(m.b(F.relu(m.a(x.flatten(1))))) + torch.einsum("nchw,nchv->ncwv", x, x).sum((1, 3)).mean(1, True)
        + (x @ x.transpose(2, 3)).sum((1, 2, 3))[:, None] + x.flatten(1) @ m.w,
        a=linear(24, 16), b=linear(16, 12), c=nn.Linear(12, 5, bias=False), w=nn.Parameter(torch.randn(24, 5)))
    yield "attention", (3, 4, 4), Lambda(
        lambda m, x: m.head((m.attention(*[m.embed(x.flatten(2).transpose(1, 2))] * 3, need_weights=False)[0]).mean(1)),
        embed=linear(3, 8), attention=nn.MultiheadAttention(8, 2, batch_first=True), head=linear(8, 4))
    yield "shapes", (4, 6, 4), Lambda(lambda m, x: torch.cat([t.flatten(1) for t in (
        x[:, :, ::2, 1::2], x[:, [2, 0, 3]], torch.roll(x, (1, -2), (2, 3)), x.permute(0, 2, 3, 1),
        torch.stack(x.chunk(2, 1), 2) * m.w, x.flip(2), x.repeat(1, 1, 2, 1) * torch.arange(12.0)[:, None],
        F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 2), x.split((1, 3), 1)[1], x.mean(1).unsqueeze(1).expand(-1, 3, -1, -1),
        x.view(x.shape[0], 2, 2, -1).transpose(1, 2).reshape(x.shape[0], -1), x[:, 1], x[:, 1:3, -2:],
        x.flatten(2).cumsum(2), torch.tril(x[:, :, :4]), x.gather(1, m.index.expand(x.shape[0], -1, -1, -1)))], 1),
        w=nn.Parameter(torch.randn(4)), index=nn.Parameter(torch.randint(4, (1, 2, 6, 4)), requires_grad=False))
    yield "padding", (2, 4, 5), Lambda(lambda m, x: torch.cat([t.flatten(1) for t in (
        F.pad(x, (1, 2, 0, 1)), F.pad(x, (1, 2, 3, 1), value=0.5), F.pad(x, (1, 1, 2, 1), mode="reflect"),
        F.pad(x, (1, 1, 2, 1), mode="replicate"), F.pad(x, (-1, 0, 1, 0)), F.pad(x, (0, 0, 0, 0, 1, 1)))], 1))
    yield "resizing", (2, 4, 5), Lambda(lambda m, x: torch.cat([t.flatten(1) for t in (
        F.interpolate(x, scale_factor=2), F.interpolate(x, (3, 9), mode="bilinear"), F.interpolate(x, (7, 3)),
        F.interpolate(x, (6, 9), mode="bilinear", align_corners=True), F.interpolate(x, (7, 8), mode="bicubic"))], 1))
    yield "reductions", (3, 4, 5), Lambda(lambda m, x: torch.cat([t.flatten(1) for t in (
        x.mean((2, 3)), x.sum(1), x.amax((2, 3), True), x.amin(3), F.normalize(x, dim=1), x.norm(dim=(2, 3)),
        x.abs().sum(2), torch.logsumexp(x, 1), x.prod(3), F.softmax(x, 1), F.log_softmax(x, -1), x.std(3), x.var((2, 3)),
        (x * x).sum((1, 2)))], 1))


def small_classifiers():
    """Classifiers of torchvision and timm with few and narrow layers: what they export is what the large ones do."""
    import timm
    from functools import partial
    from torchvision.models import convnext, densenet, efficientnet, maxvit, mobilenetv3, shufflenetv2, swin_transformer
    from torchvision.models import VisionTransformer
    residual = partial(mobilenetv3.InvertedResidualConfig, dilation=1, width_mult=1.0)
    yield "mobilenet", 16, mobilenetv3.MobileNetV3(
        [residual(8, 3, 16, 8, True, "RE", 2), residual(8, 5, 16, 8, True, "HS", 1)], last_channel=16, num_classes=10)
    yield "efficientnet", 16, efficientnet.EfficientNet(
        [efficientnet.MBConvConfig(1, 3, 1, 8, 8, 1), efficientnet.MBConvConfig(2, 3, 2, 8, 8, 2),
         efficientnet.FusedMBConvConfig(2, 3, 1, 8, 16, 1)], dropout=0.2, last_channel=16, num_classes=10)
    yield "shufflenet", 32, shufflenetv2.ShuffleNetV2([2, 1, 1], [8, 16, 16, 16, 16], num_classes=10)
    yield "densenet", 32, densenet.DenseNet(4, (2, 1), 8, num_classes=10)
    yield "convnext", 16, convnext.ConvNeXt(
        [convnext.CNBlockConfig(8, 16, 1), convnext.CNBlockConfig(16, None, 1)], num_classes=10)
    yield "vit", 16, VisionTransformer(16, 4, 2, 2, 16, 32, num_classes=10)
    yield "swin", 16, swin_transformer.SwinTransformer([2, 2], 8, [2, 1], [2, 2], [4, 4], num_classes=10)
    yield "maxvit", 16, maxvit.MaxVit((16, 16), 8, 2, [8, 16], [1, 1], 4, 0.0, num_classes=10)
    yield "timm_vit", 16, timm.models.VisionTransformer(
        16, 4, embed_dim=16, depth=2, num_heads=2, num_classes=10, init_values=0.1, qk_norm=True)
    yield "timm_swin", 16, timm.models.SwinTransformer(
        16, 2, embed_dim=8, depths=(2, 1), num_heads=(2, 2), window_size=4, num_classes=10)
    yield "timm_mixer", 16, timm.models.MlpMixer(num_classes=10, img_size=16, patch_size=4, num_blocks=2, embed_dim=16)


def torchvision_classifiers():
    import torchvision.models as zoo
    small = {"num_classes": 10}
    for name, size in (
        ("resnet18", 64), ("resnet50", 64), ("densenet121", 64), ("mobilenet_v2", 64), ("mobilenet_v3_small", 64),
        ("efficientnet_b0", 64), ("convnext_tiny", 64), ("swin_t", 64), ("swin_v2_t", 64), ("vgg11_bn", 32),
        ("squeezenet1_1", 64), ("shufflenet_v2_x1_0", 64), ("regnet_y_400mf", 64), ("mnasnet1_0", 64), ("alexnet", 64),
        ("maxvit_t", 224), ("vit_b_16", 224),
    ):
        extra = {"image_size": 64, "num_layers": 3, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 128, "patch_size": 16,
                 "num_classes": 10} if name == "vit_b_16" else small
        if name == "vit_b_16":
            yield name, 64, zoo.VisionTransformer(**extra)
        else:
            yield name, size, getattr(zoo, name)(**extra)
    yield "googlenet", 64, zoo.googlenet(aux_logits=False, init_weights=False, transform_input=True, **small)
    yield "inception_v3", 128, zoo.inception_v3(aux_logits=False, init_weights=False, **small)


def timm_classifiers():
    import timm
    for name, extra in (
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 3}), ("deit_tiny_distilled_patch16_224", {"img_size": 64, "depth": 3}),
        ("mixer_s32_224", {"img_size": 64}), ("resmlp_12_224", {"img_size": 64}),
        ("swin_tiny_patch4_window7_224", {"img_size": 112, "depths": (2, 2)}),
        ("beit_base_patch16_224", {"img_size": 64, "depth": 2}), ("efficientnetv2_rw_t", {}), ("nfnet_l0", {}),
        ("resnetv2_50x1_bit", {}), ("cait_xxs24_224", {"img_size": 64, "depth": 2}), ("xcit_nano_12_p16_224", {"img_size": 64, "depth": 2}),
        ("poolformer_s12", {}), ("coat_tiny", {"img_size": 64}), ("ghostnet_100", {}), ("hrnet_w18_small", {}),
        ("repvgg_a0", {}), ("levit_128s", {}), ("mobilevit_xs", {}), ("res2net50_26w_4s", {}), ("fastvit_t8", {}),
        ("eva02_tiny_patch14_224", {"img_size": 56, "depth": 2}), ("wide_resnet50_2", {}), ("edgenext_xx_small", {}),
        ("pit_ti_224", {}), ("gmlp_s16_224", {"img_size": 64}), ("twins_svt_small", {}), ("crossvit_tiny_240", {}),
        ("volo_d1_224", {}), ("tf_efficientnet_b0", {}), ("coatnet_nano_rw_224", {}), ("mobilenetv4_conv_small", {}),
        ("davit_tiny", {}), ("focalnet_tiny_srf", {}), ("inception_v4", {}), ("dla34", {}), ("vovnet39a", {}), ("selecsls42", {}),
    ):
        try:
            model = timm.create_model(name, pretrained=False, num_classes=10, **extra)
        except Exception as error:  # names and sizes change with the release of timm
            print("timm_" + name, "FAILED", error, flush=True)
            continue
        size = extra.get("img_size") or (model.default_cfg["input_size"][-1] if model.default_cfg.get("fixed_input_size") else 96)
        yield "timm_" + name, size, model
    mixer = timm.models.convmixer.ConvMixer
    yield "timm_convmixer", 56, mixer(256, 3, kernel_size=7, patch_size=7, act_layer=nn.ReLU, num_classes=10)


@torch.no_grad()
def randomise(model):
    """Makes every part of the function matter: statistics of batch norms, scales, and what starts as zero."""
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if not tensor.is_floating_point() or tensor.numel() == 0:
            continue
        if name.endswith("running_var"):
            tensor.uniform_(0.7, 1.4)
        elif name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif tensor.ndim <= 1 or "scale" in name or "gamma" in name:
            tensor.add_(torch.randn_like(tensor) * 0.1)
        elif tensor.abs().max() == 0 and tensor.requires_grad:
            tensor.normal_(0, 0.02)


def gradients(model, images, cotangents):
    """Logits, and the gradient of their product with the cotangents."""
    leaf = images.clone().requires_grad_()
    logits = model(leaf)
    (logits * cotangents).sum().backward()
    return logits.detach(), leaf.grad


def reference(model, shape, rows=2):
    """Images, and what PyTorch computes of them in double precision.

    Where a relu or a maximum is at its kink to within rounding, gradients jump, PyTorch's own as well. Of some images those
    are taken on which its single and double precision agree best, and a little noise changes least.
    """
    single, double = copy.deepcopy(model), copy.deepcopy(model).double()
    best = None
    for seed in range(1, 101):
        generator = torch.Generator().manual_seed(seed)
        images = torch.rand(rows, *shape, generator=generator)
        with torch.no_grad():
            cotangents = torch.randn(single(images).shape, generator=generator)
        logits, exact = gradients(double, images.double(), cotangents.double())
        _, rounded = gradients(single, images, cotangents)
        noise = 1e-7 * torch.randn(images.shape, generator=generator)
        _, beside = gradients(double, images.double() + noise, cotangents.double())
        jump = max((rounded - exact).abs().max(), (beside - exact).abs().max())
        deviation = float(jump / exact.abs().max())
        if best is None or deviation < best[0]:
            best = deviation, images, logits.float(), cotangents, exact.float()
        if deviation < 1e-5:
            break
    print(f"PyTorch's single precision deviates by {best[0]:.1e}", flush=True)
    return best[1:]


def strip(path):
    """Leaves out where in the source each node comes from, and the shapes of edges within the graph."""
    import onnx
    model = onnx.load(path)
    del model.graph.value_info[:], model.graph.metadata_props[:], model.metadata_props[:]
    for thing in [model.graph, *model.graph.node, *model.graph.initializer]:
        thing.ClearField("doc_string")
        thing.ClearField("metadata_props")
    onnx.save(model, path)


def export(model, folder, name, exporter, images):
    """Writes NAME-EXPORTER.onnx."""
    path = folder / f"{name}-{exporter}.onnx"
    if exporter == "traced":
        torch.onnx.export(model, (images,), path, dynamo=False, input_names=["images"], output_names=["logits"],
                          dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}}, opset_version=17)
    else:
        torch.onnx.export(model, (images,), path, dynamo=True, input_names=["images"], output_names=["logits"],
                          dynamic_shapes=({0: torch.export.Dim("n", min=2, max=1024)},), external_data=False,
                          verbose=False, opset_version=18)
    strip(path)


class DigitsCnn(nn.Module):
    """The network `digits-cnn` of realsafe-models."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.linear1, self.linear2 = nn.Linear(32 * 4 * 4, 64), nn.Linear(64, 10)

    def forward(self, images):
        hidden = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(images)))), 2)
        return self.linear2(F.relu(self.linear1(hidden.flatten(1))))


def digits(path):
    """Exports the built-in network for digits."""
    from safetensors.torch import load_file
    model = DigitsCnn().eval()
    weights = pathlib.Path(__file__).parents[2] / "crates/realsafe-models/weights/digits-standard.safetensors"
    model.load_state_dict(load_file(weights))
    torch.onnx.export(model, (torch.rand(2, 1, 8, 8),), path, dynamo=False, input_names=["images"],
                      output_names=["logits"], dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}}, opset_version=17)


def main():
    what, folder, *chosen = sys.argv[1:]
    if what == "digits":
        return digits(folder)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if what == "operators":
        networks = operators()
    elif what == "small":
        networks = ((name, (3, size, size), model) for name, size, model in small_classifiers())
    else:
        import itertools
        networks = ((name, (3, size, size), model) for name, size, model in
                    itertools.chain([] if what == "timm" else torchvision_classifiers(), timm_classifiers()))
    torch.manual_seed(0)
    for name, shape, model in networks:
        if chosen and name not in chosen:
            torch.manual_seed(0)
            continue
        randomise(model)
        model.eval()
        images, *rest = reference(model, shape)
        tensors = dict(zip(("images", "logits", "cotangents", "gradients"), (images, *rest)))
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / f"{name}.safetensors")
        for exporter in () if what == "references" else ("traced", "dynamo"):
            try:
                export(model, folder, name, exporter, images)
                print(name, exporter, flush=True)
            except Exception as error:  # an exporter may refuse; say so and go on
                print(name, exporter, "FAILED", str(error).strip().splitlines()[:1], flush=True)
        torch.manual_seed(0)  # for the next network


if __name__ == "__main__":
    main()
