"""Makes a data directory whose networks differ from those of another by no more than rounding does.

    REALSAFE_DATA=DIRECTORY target/peers/bin/python benches/jitter.py NEW --seed 1 mnist-lenet5-pgd-at.pt

Every weight of the files named is multiplied by 1 plus a normal number of deviation 1e-6; everything else is linked. Where an
attack is chaotic, what it finds on several such copies says how much of a difference between programs is due to arithmetic.
"""

import argparse
import os
from pathlib import Path

import torch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("weights", nargs="+", help="names of files in weights/, each a dictionary of tensors")
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    data = Path(os.environ["REALSAFE_DATA"]).resolve()
    (arguments.directory / "weights").mkdir(parents=True)
    for entry in [*data.glob("*"), *data.glob("weights/*")]:
        if entry.name not in ("weights", *arguments.weights):
            (arguments.directory / entry.relative_to(data)).symlink_to(entry)
    torch.manual_seed(arguments.seed)
    for name in arguments.weights:
        state = torch.load(data / "weights" / name, map_location="cpu", weights_only=True)
        jittered = {key: value * (1 + 1e-6 * torch.randn_like(value)) for key, value in state.items()}
        torch.save(jittered, arguments.directory / "weights" / name)


if __name__ == "__main__":
    main()
