"""Writes one small network to ONNX in the ways in which exporters differ, with what PyTorch computes of it.

    python tests/onnx/formats.py crates/realsafe-onnx/tests/formats

`formats-opsetN`: each version of the operators; `formats-fixed`: one image at a time; `formats-external`: constants in another
file; `half-weights`, `brain-weights`: constants of 16 bits, cast; `half-whole`: 16 bits throughout. `missing` has
operators that nobody knows, `inputs` takes more than images, `training` leaves activations out, `scattered` has its constants in two
files. Needs torch 2.9
and onnx.
"""
import copy
import pathlib
import sys

import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from safetensors.torch import save_file
from torch import nn

from export import randomise, reference, strip


class Network(nn.Module):
    """Operators whose inputs, attributes or defaults changed between versions."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.linear = nn.Linear(105, 5)

    def forward(self, images):
        hidden = F.dropout(self.norm(self.conv(images)), training=self.training).clamp(-0.8, 0.9)
        first, second = F.pad(hidden, (1, 0, 0, 1), value=0.3).split((1, 3), 1)
        parts = (
            F.max_pool2d(first.mean(3).unsqueeze(3), (2, 1)),
            second.mean((2, 3), keepdim=True).squeeze(3).squeeze(2),
            F.softmax(second, 1).mean(2),
            F.log_softmax(second.flatten(2), 2).amax(1),
            F.hardswish(second).sum((2, 3)),
            F.interpolate(first, scale_factor=2, mode="nearest")[:, :, ::3, 1::4],
            hidden.norm(dim=(1, 2)),
        )
        return self.linear(torch.cat([part.flatten(1) for part in parts], 1))


def write(model, path, images, opset=17, open_rows=True, fold=True):
    """Exports; where nothing may be folded, constants are the weights as they are."""
    axes = {"images": {0: "n"}, "logits": {0: "n"}} if open_rows else None
    torch.onnx.export(model, (images,), path, dynamo=False, input_names=["images"], output_names=["logits"],
                      dynamic_axes=axes, opset_version=opset, do_constant_folding=fold,
                      training=torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE)
    strip(path)


def narrow(path, target, kind):
    """Holds the floats of a file in 16 bits, each followed by a cast."""
    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        bits = (values.half() if kind == TensorProto.FLOAT16 else values.bfloat16()).view(torch.int16)
        name = tensor.name
        tensor.CopyFrom(helper.make_tensor(f"{name}.narrow", kind, values.shape, bits.numpy().tobytes(), raw=True))
        casts.append(helper.make_node("Cast", [f"{name}.narrow"], [name], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    onnx.save(model, target)


def save(path, tensors):
    names = ("images", "logits", "cotangents", "gradients")
    save_file({name: tensor.contiguous() for name, tensor in zip(names, tensors)}, path)


def graph(name, nodes, inputs):
    edge = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    made = helper.make_graph(nodes, name, [edge(*each) for each in inputs], [edge("logits", ["n", 10])])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)])


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = Network()
    randomise(model)
    model.eval()
    images, *rest = reference(model, (2, 6, 6))
    save(folder / "formats.safetensors", (images, *rest))
    for opset in range(11, 21):
        write(model, folder / f"formats-opset{opset}.onnx", images, opset)
    write(model, folder / "formats-fixed.onnx", images[:1], open_rows=False)
    whole = onnx.load(folder / "formats-opset17.onnx")
    (folder / "formats-external.data").unlink(missing_ok=True)  # onnx would append
    onnx.save(whole, folder / "formats-external.onnx", save_as_external_data=True, location="formats-external.data",
              size_threshold=0)

    narrowed = copy.deepcopy(model).half()
    images, *rest = reference(copy.deepcopy(narrowed).float(), (2, 6, 6))
    save(folder / "half.safetensors", (images, *rest))
    write(narrowed, folder / "half-whole.onnx", images.half(), fold=False)
    write(narrowed.float(), folder / "half.onnx", images, fold=False)
    narrow(folder / "half.onnx", folder / "half-weights.onnx", TensorProto.FLOAT16)
    (folder / "half.onnx").unlink()
    narrowed = copy.deepcopy(model).bfloat16().float()
    images, *rest = reference(narrowed, (2, 6, 6))
    save(folder / "brain.safetensors", (images, *rest))
    write(narrowed, folder / "brain.onnx", images, fold=False)
    narrow(folder / "brain.onnx", folder / "brain-weights.onnx", TensorProto.BFLOAT16)
    (folder / "brain.onnx").unlink()

    flat = helper.make_node("Flatten", ["images"], ["flat"])
    unknown = [flat, helper.make_node("Sharpen", ["flat"], ["sharp"], name="sharpen_1", domain="com.example"),
               helper.make_node("NonMaxSuppression", ["sharp", "sharp"], ["logits"], name="suppress")]
    onnx.save(graph("missing", unknown, [("images", ["n", 1, 8, 8])]), folder / "missing.onnx")
    added = [flat, helper.make_node("Add", ["flat", "offset"], ["logits"])]
    leave_out = helper.make_node("Dropout", ["flat", "ratio", "training"], ["logits"], name="leave_out")
    training = graph("training", [flat, leave_out], [("images", ["n", 1, 2, 5])])
    ratio = helper.make_tensor("ratio", TensorProto.FLOAT, [], [0.5])
    training.graph.initializer.extend([ratio, helper.make_tensor("training", TensorProto.BOOL, [], [True])])
    onnx.save(training, folder / "training.onnx")
    onnx.save(graph("inputs", added, [("images", ["n", 1, 8, 8]), ("offset", ["n", 10])]), folder / "inputs.onnx")

    scattered = onnx.load(folder / "formats-external.onnx", load_external_data=False)
    for at, tensor in enumerate(scattered.graph.initializer):
        tensor.external_data[0].value = "ab"[at % 2] + ".data"
    onnx.save(scattered, folder / "scattered.onnx")


if __name__ == "__main__":
    main()
