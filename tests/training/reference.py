"""Losses and gradients of training recipes in PyTorch, in double precision, with double backward where it takes one.

    python tests/training/reference.py > tests/training/reference.txt

Each line is a name and numbers: the loss, and its derivatives with respect to all weights, in the order of `weights`.
"""

import math

import torch

torch.set_default_dtype(torch.float64)
ROWS, PIXELS, HIDDEN, CLASSES = 9, 4, 5, 4


def wave(rows, columns, first, scale):
    """A matrix of numbers that any language computes alike."""
    values = [scale * math.sin(first + place) for place in range(rows * columns)]
    return torch.tensor(values).reshape(rows, columns).requires_grad_()


def weights(member):
    """Two layers, each with its bias."""
    shift = 100 * member
    return [
        wave(PIXELS, HIDDEN, 1 + shift, 1.2),
        wave(1, HIDDEN, 40 + shift, 0.3),
        wave(HIDDEN, CLASSES, 60 + shift, 1.2),
        wave(1, CLASSES, 90 + shift, 0.2),
    ]


def logits(layers, images):
    first, first_bias, second, second_bias = layers
    return torch.tanh(images @ first + first_bias) @ second + second_bias


IMAGES = torch.tensor([[0.5 + 0.45 * math.sin(7 * row + 3 * pixel + 0.5) for pixel in range(PIXELS)] for row in range(ROWS)])
LABELS = torch.tensor([row % CLASSES for row in range(ROWS)])


def lead(layers, point, start, end):
    """How far the logit of `start` is above that of `end` at a point, and the gradient, both to be differentiated again."""
    point = point.detach().requires_grad_()
    outputs = logits(layers, point[None])[0]
    difference = outputs[start] - outputs[end]
    (slope,) = torch.autograd.grad(difference, point, create_graph=True)
    return difference, slope


def deep_defense(layers, c, d, lamda, steps):
    penalties = []
    for image, label in zip(IMAGES, LABELS.tolist()):
        correct = logits(layers, image[None]).argmax().item() == label
        now = image
        for _ in range(steps):
            predicted = logits(layers, now[None]).argmax().item()
            rivals = [other for other in range(CLASSES) if other != label]
            ways = [(label, rival) for rival in rivals] if correct else [(predicted, label)]
            found = [(lead(layers, now, *way), way) for way in ways]
            (height, slope), way = min(found, key=lambda entry: (entry[0][0].abs() / entry[0][1].norm()).item())
            point = now
            now = (now - height.abs() * slope / slope.norm() ** 2).detach()
            reached = logits(layers, (image + 1.02 * (now - image))[None]).argmax().item()
            if (reached == label) != correct:
                break
        height, slope = lead(layers, point, *way)
        distance = (height + slope @ (image - point)) / slope.norm()
        ratio = (distance / image.norm()).clamp(0, 1)
        penalties.append(torch.exp((-c if correct else d) * ratio))
    print("#", sum(logits(layers, IMAGES).argmax(1) == LABELS).item(), "of", ROWS, "images are classified correctly")
    entropy = torch.nn.functional.cross_entropy(logits(layers, IMAGES), LABELS)
    return entropy + lamda * torch.stack(penalties).mean()


def adaptive_diversity(members, alpha, beta):
    outputs = [torch.softmax(logits(layers, IMAGES), 1) for layers in members]
    entropies = sum(torch.nn.functional.cross_entropy(logits(layers, IMAGES), LABELS) for layers in members)
    mean = sum(outputs) / len(outputs)
    entropy = -(mean * torch.log(mean)).sum(1).mean()
    others = torch.stack(outputs, 1)
    kept = torch.stack([torch.cat([rows[:, :label], rows[:, label + 1 :]], 1) for rows, label in zip(others, LABELS.tolist())])
    kept = kept / kept.norm(dim=2, keepdim=True)
    gram = kept @ kept.transpose(1, 2) + 1e-6 * torch.eye(len(members))
    return entropies - alpha * entropy - beta * torch.logdet(gram).mean()


def tell(name, loss, parameters):
    derivatives = torch.autograd.grad(loss, parameters)
    numbers = [loss.item()] + [number for part in derivatives for number in part.flatten().tolist()]
    print(name, *(f"{number:.12g}" for number in numbers))


single = weights(0)
for steps in (1, 3):
    tell(f"deep-defense-{steps}", deep_defense(single, 5, 2, 2, steps), single)
several = [weights(member) for member in range(3)]
tell("adp", adaptive_diversity(several, 2, 0.5), [layer for layers in several for layer in layers])
