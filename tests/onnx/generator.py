"""Trains the generator `builtin:digits-generator` of the defense `defense-gan`: a Wasserstein GAN with a gradient penalty
(Gulrajani et al., arXiv:1704.00028) of the digits' training split.

    python generator.py ../../crates/realsafe-data/data/digits.bin.gz ../../crates/realsafe-models/weights/digits-generator.onnx

Needs PyTorch and onnx; takes five minutes on one core.
"""

import gzip
import sys

import numpy
import torch
from torch import nn

CODE, HIDDEN, BATCH, ROUNDS = 16, 128, 128, 6000

torch.manual_seed(0)
torch.set_num_threads(1)
digits, target = sys.argv[1:]
records = numpy.frombuffer(gzip.open(digits).read(), numpy.uint8).reshape(-1, 65)
images = torch.tensor(records[:1197, :64] / 16, dtype=torch.float32)

generator = nn.Sequential(
    nn.Linear(CODE, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 64), nn.Sigmoid()
)
critic = nn.Sequential(
    nn.Linear(64, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 1)
)
of_generator, of_critic = (
    torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.9)) for network in (generator, critic)
)
for _ in range(ROUNDS):
    for _ in range(5):
        real = images[torch.randint(0, len(images), (BATCH,))]
        made = generator(torch.randn(BATCH, CODE)).detach()
        share = torch.rand(BATCH, 1)
        between = (share * real + (1 - share) * made).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        penalty = 10 * ((slope.norm(dim=1) - 1) ** 2).mean()
        loss = critic(made).mean() - critic(real).mean() + penalty
        of_critic.zero_grad()
        loss.backward()
        of_critic.step()
    loss = -critic(generator(torch.randn(BATCH, CODE))).mean()
    of_generator.zero_grad()
    loss.backward()
    of_generator.step()

whole = nn.Sequential(generator, nn.Unflatten(1, (1, 8, 8))).eval()
torch.onnx.export(
    whole,
    (torch.rand(2, CODE),),
    target,
    dynamo=False,
    opset_version=17,
    input_names=["codes"],
    output_names=["images"],
    dynamic_axes={"codes": {0: "n"}, "images": {0: "n"}},
)
