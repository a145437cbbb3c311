"""Numbers that the defenses' tests compare with, from PyTorch, scikit-image and plain NumPy: writes reference.json.

Needs torch, scikit-image 0.26 and numpy. Run it in this folder.
"""

import itertools
import json

import numpy
import torch
from skimage.restoration import denoise_tv_bregman


def pattern(*shape):
    """The images of the tests: values from 0 to 1 in a fixed order."""
    return (numpy.arange(numpy.prod(shape)) * 37 % 101 / 100).astype(numpy.float32).reshape(shape)


def interpolated(images, size, mode):
    align = {} if mode == "nearest" else {"align_corners": False}
    return torch.nn.functional.interpolate(torch.from_numpy(images), size, mode=mode, **align).numpy()


def minimised(image, kept, weight):
    """Split Bregman of the total variation with missing pixels: they have no data, so only their neighbours count."""
    height, width, channels = image.shape
    coupling = 2 * weight
    border = numpy.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect").astype(numpy.float64)
    down, right, down_rest, right_rest = (numpy.zeros_like(border) for _ in range(4))
    for _ in range(100):
        change = 0.0
        for channel, y, x in itertools.product(range(channels), range(1, height + 1), range(1, width + 1)):
            here = (y, x, channel)
            up_of, left_of = (y - 1, x, channel), (y, x - 1, channel)
            down_of, right_of = (y + 1, x, channel), (y, x + 1, channel)
            old = border[here]
            steps = border[down_of] - old, border[right_of] - old
            neighbours = border[up_of] + border[left_of] + border[down_of] + border[right_of]
            pull = (down[up_of] - down_rest[up_of]) - (down[here] - down_rest[here])
            pull += (right[left_of] - right_rest[left_of]) - (right[here] - right_rest[here])
            if kept[y - 1, x - 1]:
                data = weight * image[y - 1, x - 1, channel]
                border[here] = (coupling * (neighbours + pull) + data) / (weight + 4 * coupling)
            else:
                border[here] = (neighbours + pull) / 4
            change += (border[here] - old) ** 2
            for step, split, rest in zip(steps, (down, right), (down_rest, right_rest)):
                wanted = step + rest[here]
                split[here] = numpy.sign(wanted) * max(abs(wanted) - 1 / coupling, 0)
                rest[here] += step - split[here]
        if numpy.sqrt(change / image.size) <= 1e-3:
            break
    return border[1:-1, 1:-1]


def cheapest(errors):
    """The connected path through the rows of a strip with the least sum, by trying all of them."""
    rows, columns = errors.shape
    paths = itertools.product(range(columns), repeat=rows)
    connected = (path for path in paths if all(abs(a - b) <= 1 for a, b in zip(path, path[1:])))
    return min(connected, key=lambda path: sum(errors[row, column] for row, column in enumerate(path)))


def quilted(image, patches, side, overlap):
    _, height, width = image.shape
    quilt = numpy.zeros_like(image)

    def places(length):
        return [*range(0, length - side, side - overlap), length - side]

    for row, top in enumerate(places(height)):
        for column, left in enumerate(places(width)):
            wanted = image[:, top:top + side, left:left + side]
            patch = patches[((patches - wanted) ** 2).sum((1, 2, 3)).argmin()]
            there = quilt[:, top:top + side, left:left + side]
            errors = ((patch - there) ** 2).sum(0)
            keep = numpy.zeros((side, side), bool)
            if column:
                over = places(width)[column - 1] + side - left
                for y, x in enumerate(cheapest(errors[:, :over])):
                    keep[y, :x] = True
            if row:
                over = places(height)[row - 1] + side - top
                for x, y in enumerate(cheapest(errors[:over].T)):
                    keep[:y, x] = True
            there[:] = numpy.where(keep, there, patch)
    return quilt


images = pattern(1, 2, 7, 9)
noisy = pattern(2, 8, 8).transpose(1, 2, 0)
weight = 2 / 0.03
half = numpy.arange(64).reshape(8, 8) * 7 % 5 < 2
patches = (numpy.arange(40 * 2 * 4 * 4) * 53 % 97 / 96).astype(numpy.float32).reshape(40, 2, 4, 4)
numbers = {
    "smaller-bilinear": interpolated(images, (5, 6), "bilinear"),
    "smaller-nearest": interpolated(images, (5, 6), "nearest"),
    "crop-bilinear": interpolated(images[:, :, 2:6, 1:6], (7, 9), "bilinear"),
    "total-variation": denoise_tv_bregman(
        noisy.astype(numpy.float64), weight=weight, max_num_iter=100, eps=1e-3, isotropic=False, channel_axis=2
    ).transpose(2, 0, 1),
    "total-variation-half": minimised(noisy, half, weight).transpose(2, 0, 1),
    "quilting": quilted(pattern(2, 9, 11), patches, 4, 2),
}
if __name__ == "__main__":
    print(abs(minimised(noisy, half | True, weight).transpose(2, 0, 1) - numbers["total-variation"]).max())
    with open("reference.json", "w") as file:
        rounded = {name: [float(f"{value:.7g}") for value in values.ravel()] for name, values in numbers.items()}
        file.write(",\n".join(json.dumps(rounded).split(", \"")).replace(",\n", ",\n\"") + "\n")
