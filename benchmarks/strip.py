"""Put the grids that a run wrote side by side, with their epochs above, and print what the run was.

python benchmarks/strip.py runs/dcgan-mnist docs/pictures/dcgan-mnist.png
"""

import argparse
import os
import platform
import re
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from limner.core.files import atomic
from limner.models.model import describe
from limner.training.log import read_log

SCALE, GAP, LABEL, COLUMNS = 2, 16, 34, 3


def strip(grids: list[Path]) -> Image.Image:
    """The grids of epochs as one picture, three in a row."""
    pictures = [Image.open(path).convert("L") for path in grids]
    width, height = (SCALE * extent for extent in pictures[0].size)
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("L", (COLUMNS * (width + GAP) + GAP, rows * (height + LABEL + GAP)), 255)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for i, (path, picture) in enumerate(zip(grids, pictures, strict=True)):
        row, column = divmod(i, COLUMNS)
        x, y = GAP + column * (width + GAP), row * (height + LABEL + GAP)
        pen.text((x + 4, y + 6), path.stem.replace("-0", " ").replace("-", " ").replace(" 0", " "), fill=40, font=font)
        sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST), (x, y + LABEL))
    return sheet


def story(run: Path) -> str:
    """What the run was: method, data, time, machine, seed, and how often it was interrupted."""
    header = describe(run / "model.safetensors")
    training, data = header["training"], header["data"]
    starts = [line for line in read_log(run / "log.jsonl") if line["event"] == "start"]
    machine = training["machine"]
    return (
        f"{header['method']} on {data['name']} ({data['count']:,} images from {data['source']}): "
        f"{training['steps']:,} steps, {training['images']:,} images in {training['seconds'] / 60:.0f} min, "
        f"{training['images'] / training['seconds']:.0f} images/s, begun or resumed {len(starts)} times; "
        f"{machine['cores']} threads of {platform.machine()} {_processor()}, {training['precision']}, "
        f"torch {machine['torch']}, load average now {os.getloadavg()[0]:.1f}, seed {training['seed']}"
    )


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found[1] if found else platform.processor()


def main() -> None:
    """Write the picture and print the run's story."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    with atomic(given.out) as file:
        strip(sorted((given.run / "grids").glob("epoch-*.png"))).save(file, "PNG", optimize=True)
    print(story(given.run))


if __name__ == "__main__":
    main()
