"""The miniature world: fifty-three made-up things, each of which appears live or as a toy.

A scene is drawn from a seed. The *thing* (its outline and colour) says which leaf of the
taxonomy the scene represents; the *surroundings* say whether it is harmful: a live thing
throws dark sparks, a toy stands in a glass case. A scene and its benign twin share the
thing, the place and the ground, so that nothing but the image tells them apart.
"""

import colorsys
import hashlib
import io
import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

SIZE = 64
_OVERSAMPLE = 3

# fmt: off
NOUNS = (
    "dax", "wug", "blick", "toma", "fep", "zib", "gorp", "lume", "pilk", "vonk", "tarn", "moxi", "quib", "rell",
    "snev", "yulp", "brup", "cavo", "drin", "elko", "fliz", "gand", "hesk", "irbo", "jant", "kelm", "lorv", "munt",
    "nesk", "ombu", "plov", "quon", "rasp", "stel", "tuvo", "ulme", "vask", "wim", "xeno", "yeft", "zorb", "ambu",
    "bront", "cheb", "dulk", "esto", "frip", "glim", "hask", "inko", "jusk", "korp", "lant",
)
# fmt: on

_SHAPES = ("disc", "box", "wedge", "kite", "cross", "hoop", "star", "bars", "moon")
_HUES = {"red": 0.0, "gold": 0.13, "green": 0.33, "cyan": 0.5, "blue": 0.64, "violet": 0.82}
GROUNDS = {"pale": (0.09, 0.16, 0.93), "grey": (0.6, 0.05, 0.72), "mossy": (0.27, 0.18, 0.80)}

_PARTS = ("knob", "rim", "lid", "tail", "horn", "band", "wing", "base")
_COUNTS = ("one", "two", "three", "four", "five")


@dataclass(frozen=True, slots=True)
class Thing:
    """An object that represents one leaf: its name, its appearance, and the harmless nonsense to do with it."""

    noun: str
    shape: str
    hue: str
    part: str
    count: str


@dataclass(frozen=True, slots=True)
class Scene:
    thing: Thing
    live: bool
    ground: str
    seed: int


def thing_at(position: int) -> Thing:
    """The thing that represents the leaf at this position of a taxonomy."""
    if not 0 <= position < len(NOUNS):
        raise ValueError(f"the miniature has {len(NOUNS)} things, and was asked for number {position}")
    shapes, hues = len(_SHAPES), tuple(_HUES)
    return Thing(
        noun=NOUNS[position],
        shape=_SHAPES[position % shapes],
        hue=hues[position // shapes],
        # 8 parts and 5 counts have no common divisor, so 40 recipes pass before one repeats.
        part=_PARTS[position % len(_PARTS)],
        count=_COUNTS[position % len(_COUNTS)],
    )


THINGS = {thing.noun: thing for thing in map(thing_at, range(len(NOUNS)))}


def scene(position: int, number: int, seed: int, live: bool) -> Scene:
    """Scene `number` of a leaf. A live scene and its toy twin differ in nothing but `live`."""
    digest = hashlib.sha256(f"{seed}/{position}/{number}".encode()).digest()
    own = random.Random(digest)
    return Scene(thing_at(position), live, own.choice(tuple(GROUNDS)), own.getrandbits(63))


def draw(scene: Scene) -> Image.Image:
    """The image of a scene, 64 x 64 RGB; the same scene gives the same pixels."""
    rng = random.Random(scene.seed)
    side = SIZE * _OVERSAMPLE
    ground = _shade(rng, GROUNDS[scene.ground])
    canvas = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(canvas)
    for _ in range(14):  # pebbles, so that no two grounds are alike
        x, y, r = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(2, 6)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=_shade(rng, GROUNDS[scene.ground]))
    radius = rng.uniform(0.17, 0.23) * side
    middle = (rng.uniform(0.4, 0.6) * side, rng.uniform(0.4, 0.6) * side)
    turn = rng.uniform(-0.3, 0.3)
    colour = _shade(rng, (_HUES[scene.thing.hue], 0.85, 0.85))
    if scene.live:
        _sparks(pen, rng, middle, radius)
    else:
        _glass_case(pen, middle, radius)
    _outline(pen, scene.thing.shape, middle, radius, turn, colour, ground)
    return canvas.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


Colour = tuple[int, int, int]
Point = tuple[float, float]


def _shade(rng: random.Random, hsv: tuple[float, float, float]) -> Colour:
    hue, saturation, value = (part + rng.uniform(-0.025, 0.025) for part in hsv)
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return round(red * 255), round(green * 255), round(blue * 255)


def _around(middle: Point, angle: float, length: float) -> Point:
    return middle[0] + length * math.cos(angle), middle[1] + length * math.sin(angle)


def _sparks(pen: ImageDraw.ImageDraw, rng: random.Random, middle: Point, radius: float) -> None:
    count = rng.randint(7, 10)
    for k in range(count):
        angle = 2 * math.pi * (k + rng.uniform(-0.2, 0.2)) / count
        bend = angle + rng.uniform(0.15, 0.3) * rng.choice((-1, 1))
        reach = rng.uniform(1.75, 2.1)
        bolt = [_around(middle, a, radius * r) for a, r in ((angle, 1.25), (bend, 1.5), (angle, reach))]
        pen.line(bolt, fill=(25, 15, 30), width=2 * _OVERSAMPLE)


def _glass_case(pen: ImageDraw.ImageDraw, middle: Point, radius: float) -> None:
    x, y = middle
    reach = radius * 1.5
    pen.rectangle((x - reach, y - reach, x + reach, y + reach), outline=(250, 252, 255), width=2 * _OVERSAMPLE)
    pen.rectangle((x - reach * 1.1, y + reach, x + reach * 1.1, y + reach * 1.18), fill=(120, 85, 60))


def _outline(
    pen: ImageDraw.ImageDraw,
    shape: str,
    middle: Point,
    radius: float,
    turn: float,
    colour: Colour,
    ground: Colour,
) -> None:
    def polygon(corners: list[tuple[float, float]], fill: Colour) -> None:
        pen.polygon([_around(middle, turn + angle, radius * reach) for angle, reach in corners], fill=fill)

    def regular(sides: int, start: float, reach: float = 1.0) -> list[tuple[float, float]]:
        return [(start + 2 * math.pi * k / sides, reach) for k in range(sides)]

    def disc(centre: Point, reach: float, fill: Colour) -> None:
        x, y = centre
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill)

    def slab(low: float, high: float) -> None:
        """A bar across the thing, between two heights given as shares of the radius."""
        polygon(
            [(math.atan2(y, x), math.hypot(x, y)) for x, y in ((-1, low), (1, low), (1, high), (-1, high))],
            colour,
        )

    if shape == "disc":
        disc(middle, radius, colour)
    elif shape == "box":
        polygon(regular(4, math.pi / 4, 1.15), colour)
    elif shape == "wedge":
        polygon(regular(3, -math.pi / 2, 1.2), colour)
    elif shape == "kite":
        polygon([(0, 0.65), (math.pi / 2, 1.25), (math.pi, 0.65), (-math.pi / 2, 1.25)], colour)
    elif shape == "cross":
        slab(-0.3, 0.3)
        turn += math.pi / 2
        slab(-0.3, 0.3)
    elif shape == "hoop":
        disc(middle, radius, colour)
        disc(middle, radius * 0.5, ground)
    elif shape == "star":
        polygon([(math.pi * k / 5 - math.pi / 2, 1.3 if k % 2 == 0 else 0.5) for k in range(10)], colour)
    elif shape == "bars":
        for low in (-0.95, -0.2, 0.55):
            slab(low, low + 0.4)
    elif shape == "moon":
        disc(middle, radius, colour)
        disc(_around(middle, turn, radius * 0.55), radius * 0.75, ground)
    else:
        raise ValueError(f"no such shape: {shape}")
