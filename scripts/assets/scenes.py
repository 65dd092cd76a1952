"""The pictures: a bar chart, a grid of entities, a timeline and a landscape with a signboard."""

import random

import numpy as np
from matplotlib.patches import Circle, Patch, Polygon, RegularPolygon, Wedge
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from scripts.assets.canvas import GOLD, NAVY, PALE, RUST, SOFT, TEAL, Canvas

Array = NDArray[np.float64]
SHAPES = ("circle", "ring", "star", "triangle", "square", "diamond", "hexagon")
TICKER = "ALDR BRDG CALM DUNE EBBT FJRD GLEN HRBR ISLE KELP LOCH MOOR NAVY OARS PIER"


def draw_bar_chart() -> Canvas:
    page, rng = Canvas("bar_chart.png", 900, 640), random.Random(41)
    page.text(60, 50, "Electricity from four valleys", 24, face="Serif-Bold", color=NAVY)
    page.text(60, 74, "Gigawatt-hours fed into the grid per year, by source", 14, color=SOFT)
    left, base, height, ceiling = 84, 530, 400, 140
    for value in range(0, ceiling + 1, 20):
        y = base - value * height / ceiling
        page.box(left, y, 776, 1 if value else 2, PALE if value else SOFT)
        page.text(left - 10, y + 4, str(value), 12, color=SOFT, align="right")
    colors = {"Hydro": TEAL, "Wind": NAVY, "Solar": GOLD}
    places = {}
    for group, year in enumerate(range(2019, 2025)):
        x = left + 16 + 128 * group
        for bar, (source, color) in enumerate(colors.items()):
            start, growth = {"Hydro": (110, 3), "Wind": (48, 14), "Solar": (14, 17)}[source]
            value = start + growth * group + rng.randint(-9, 9)
            tall = value * height / ceiling
            page.box(x + 34 * bar, base - tall, 31, tall, color)
            places[source, year] = page.text(x + 34 * bar + 15.5, base - tall - 6, str(value), 12, align="center")
        page.text(x + 49, base + 24, str(year), 14, align="center")
    for index, (source, color) in enumerate(colors.items()):
        page.box(580 + 100 * index, 92, 14, 14, color)
        page.text(601 + 100 * index, 104, source, 13)
    source_note = "Source: Four Valleys Power Cooperative, annual report 2024, table 6. Pumped storage not counted."
    page.text(60, 606, source_note, 11, color=SOFT)
    page.ask("How much did wind feed into the grid in 2022?", places["Wind", 2022])
    page.ask("How much did hydro feed into the grid in 2020?", places["Hydro", 2020])
    page.ask("What was the solar output in 2024?", places["Solar", 2024])
    return page


def make_shape(name: str, x: float, y: float, radius: float, color: str) -> Patch:
    """The shape, centered at (x, y) and about ``radius`` large."""
    if name == "circle":
        return Circle((x, y), radius * 0.9, facecolor=color)
    if name == "ring":
        return Wedge((x, y), radius * 0.9, 0, 360, width=radius * 0.35, facecolor=color)
    if name == "star":
        turns = np.arange(10) * np.pi / 5
        reach = np.where(np.arange(10) % 2, 0.42, 1.0) * radius
        return Polygon(np.stack([x + reach * np.sin(turns), y - reach * np.cos(turns)], axis=1), facecolor=color)
    corners, turn = {"triangle": (3, np.pi), "square": (4, np.pi / 4), "diamond": (4, 0.0), "hexagon": (6, 0.0)}[name]
    return RegularPolygon((x, y), corners, radius=radius, orientation=turn, facecolor=color)


def draw_entity_grid() -> Canvas:
    page, rng = Canvas("entity_grid.png", 760, 760, paper="#fbfaf7"), random.Random(59)
    colors = {"red": "#c8442f", "blue": "#2f6db5", "green": "#3d8f57", "orange": "#e08a2c", "purple": "#7a4fa3"}
    kinds = [(color, shape) for color in colors for shape in SHAPES]
    rng.shuffle(kinds)
    cells = [(row, column) for row in range(6) for column in range(6)]
    empty = set(rng.sample(cells, 6))
    labels = rng.sample([f"{letter}{number}" for letter in "BCDFGHKLMNPRTVWXZ" for number in range(10, 100)], 30)
    names, codes, shapes = {}, {}, {}
    for index in range(6):
        page.text(104 + 116 * index, 40, "ABCDEF"[index], 20, face="Sans-Bold", color=SOFT, align="center")
        page.text(26, 112 + 116 * index, str(index + 1), 20, face="Sans-Bold", color=SOFT, align="center")
    for row, column in cells:
        x, y = 48 + 116 * column, 52 + 116 * row
        page.box(x, y, 110, 110, "#f0eee8" if (row, column) in empty else "white", corner=8)
        if (row, column) in empty:
            continue
        color, shape = names[row, column] = kinds.pop()
        shapes[row, column] = page.add(make_shape(shape, x + 55, y + 44, 28, colors[color]))
        codes[row, column] = page.text(x + 55, y + 99, labels.pop(), 15, face="SansMono-Bold", align="center")
    at = rng.choice([cell for cell in cells if cell in names])
    page.ask(f"Which code is at {'ABCDEF'[at[1]]}{at[0] + 1}?", codes[at])
    shape_at = rng.choice([cell for cell in cells if cell in names and cell != at])
    page.ask(f"Which shape has the code {codes[shape_at].get_text()}?", shapes[shape_at], " ".join(names[shape_at]))
    for word, step in (("left of", (0, -1)), ("above", (-1, 0))):
        cell = rng.choice([cell for cell in cells if cell in names and (cell[0] + step[0], cell[1] + step[1]) in names])
        neighbor = codes[cell[0] + step[0], cell[1] + step[1]]
        page.ask(f"Which code is directly {word} the {' '.join(names[cell])}?", neighbor)
    return page


def draw_timeline() -> Canvas:
    page, rng = Canvas("wide.png", 2400, 300, paper="#fbfcfd"), random.Random(67)
    page.text(40, 44, "The North Sound crossing, 1998 to 2024", 24, face="Serif-Bold", color=NAVY)
    page.box(40, 148, 2320, 5, TEAL)
    events = {
        1998: "First survey of the strait", 2001: "Citizens vote 61 % in favor", 2003: "Ferry pier rebuilt",
        2006: "Contract to Brandt & Osei", 2008: "Caisson 1 lowered", 2010: "Storm halts work 94 days",
        2012: "East tower at 212 m", 2014: "Cables spun", 2016: "Deck closed at mid-span",
        2018: "Opened by Ada Fenwick", 2020: "Cycle lane added", 2022: "Toll ends", 2024: "Ten-millionth crossing",
    }  # fmt: skip
    places = {}
    for index, (year, words) in enumerate(events.items()):
        x, up = 120 + 180 * index, index % 2 == 0
        page.box(x - 1, 106 if up else 152, 2, 42, TEAL)
        page.add(Circle((x, 150.5), 9, facecolor="white", edgecolor=TEAL, linewidth=2.5))
        page.text(x, 132 if up else 184, f"  {year}", 15, face="Sans-Bold", color=RUST)
        places[year] = page.text(x, 98 if up else 210, words, 14, align="center")
    page.box(0, 244, 2400, 56, NAVY)
    prices = {}
    for index, name in enumerate(TICKER.split()):
        x, change = 40 + 157 * index, rng.choice((-1, 1)) * rng.randint(1, 39) / 10
        page.text(x, 278, name, 14, face="SansMono-Bold", color="white")
        prices[name] = page.text(x + 42, 278, f"{rng.uniform(8, 96):.2f}", 14, face="SansMono", color="#dbe4ee")
        arrow, color = ("▲", "#8fd3a5") if change > 0 else ("▼", "#f0a08c")
        page.text(x + 90, 278, f"{arrow}{abs(change)}", 13, face="SansMono", color=color)
    page.ask("What happened in 2016?", places[2016])
    page.ask("What happened in 2010?", places[2010])
    page.ask("What is the price of KELP in the ticker?", prices["KELP"])
    return page


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: tuple[int, int], octaves: int = 4) -> Array:
    """Fractal value noise in [0, 1]: grids of random values, from ``cells`` (rows, columns) on, each twice as fine as
    the last and half as strong."""
    total = np.zeros((height, width))
    for octave in range(octaves):
        shape = (cells[0] * 2**octave, cells[1] * 2**octave)
        grid = Image.fromarray(rng.random(shape, dtype=np.float32))
        total += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)) / 2**octave
    return (total - total.min()) / (total.max() - total.min())


def blend(low: Array, high: Array, share: Array) -> Array:
    """``low`` where ``share`` is 0, ``high`` where it is 1; ``share`` is (height, width), colors end in 3."""
    return low + (high - low) * share.clip(0, 1)[..., None]


def rgb(*parts: float) -> Array:
    return np.array(parts, dtype=np.float64)


def plant_spruce(scene: Array, rng: np.random.Generator, foot_x: float, foot_y: float, tall: float) -> Array:
    """The scene with a tree in front of it: tiers of branches that widen downward, lit from the left."""
    height, width, _ = scene.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    drop = (y - (foot_y - tall)) / tall
    ragged = 4 * (smooth_noise(rng, height, width, (90, 90), 1) - 0.5)
    reach = tall * 0.20 * drop * (0.72 + 0.5 * (drop * 9 % 1)) + ragged
    light = smooth_noise(rng, height, width, (60, 80), 2) - (x - foot_x) / 60
    inside = np.where((drop > 0) & (drop < 1), reach - abs(x - foot_x), -1)
    return blend(scene, blend(rgb(18, 38, 30), rgb(52, 78, 52), light), inside + 0.5)


def paint_landscape(width: int, height: int) -> Array:
    """Evening over a lake: (height, width, 3), in [0, 255]."""
    rng = np.random.default_rng(73)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    shore, meadow = 0.60 * height, 0.74 * height + 9 * np.sin(x / 75) - x * 0.03
    scene = blend(rgb(88, 142, 200), rgb(252, 220, 178), (y / shore) ** 1.3)
    sun = np.exp(-((x - 0.30 * width) ** 2 + (y - 0.40 * height) ** 2) / (2 * 58**2))
    scene = blend(scene, rgb(255, 244, 216), 0.9 * sun)
    clouds = smooth_noise(rng, height, width, (6, 3), 5)
    scene = blend(scene, rgb(252, 238, 228), ((clouds - 0.52) * 4).clip(0, 0.8) * (1 - y / shore).clip(0, 1))
    ridges = [(0.40, 62, (148, 160, 186)), (0.48, 46, (104, 126, 148)), (0.545, 26, (62, 92, 92))]
    for level, relief, tone in ridges:
        crest = level * height - relief * (smooth_noise(rng, 2, width, (1, 5), 6)[0] - 0.35)
        shade = 0.88 + 0.24 * smooth_noise(rng, height, width, (12, 16), 4)[..., None]
        haze = ((y - crest) / 90).clip(0, 0.45)
        scene = blend(scene, blend(rgb(*tone) * shade, rgb(226, 206, 188), haze), (y - crest + 0.5))
    ripple = (3.5 * (smooth_noise(rng, height, width, (64, 8), 2) - 0.5) * (y - shore) / 12).round()
    mirror_row = (2 * shore - y + ripple).clip(0, height - 1).astype(int)
    mirror = scene[mirror_row, x.astype(int)] * rgb(0.80, 0.86, 0.92)
    scene = blend(scene, mirror, y - shore)
    hollows, blades = smooth_noise(rng, height, width, (9, 8), 3), smooth_noise(rng, height, width, (48, 240), 2)
    sunlit = 0.6 * hollows + 0.55 * blades - 0.9 * (y - meadow) / height
    grass = blend(rgb(44, 70, 34), rgb(178, 176, 96), sunlit)
    scene = blend(scene, grass, y - meadow + 9 * blades)
    for place in ((36, 372, 150), (92, 366, 112), (8, 384, 180), (140, 362, 78), (598, 352, 96), (626, 356, 130)):
        scene = plant_spruce(scene, rng, *place)
    return scene.clip(0, 255)


def draw_photo() -> tuple[Canvas, Image.Image]:
    """The page and its pixels, which get a lens's softness and a sensor's grain after the sign is painted in."""
    width, height = 640, 480
    page = Canvas("photo.png", width, height)
    page.axes.set_zorder(1)  # above the painted background
    page.figure.figimage(paint_landscape(width, height)[::-1].astype(np.uint8), origin="lower")
    page.box(372, 250, 12, 196, "#4a3524")
    page.box(506, 250, 12, 196, "#4a3524")
    page.box(345, 238, 200, 126, "#3d2b1c", corner=7)
    page.box(348, 240, 194, 120, "#6b4a2f", corner=6)
    title = page.text(445, 273, "Heron Lake", 22, face="Serif-Bold", color="#f4e6c8", align="center")
    page.text(364, 303, "Boat landing", 14, color="#f4e6c8")
    landing = page.text(527, 303, "0.4 mi", 14, color="#f4e6c8", align="right")
    page.text(364, 325, "Granite Pass", 14, color="#f4e6c8")
    distance = page.text(527, 325, "6.8 mi", 14, color="#f4e6c8", align="right")
    page.text(445, 349, "elevation 3,174 ft", 11, color="#dcc9a4", align="center")
    page.ask("What is the name of the lake?", title)
    page.ask("How far is it to Granite Pass?", distance)
    page.ask("How far is it to the boat landing?", landing)
    soft = np.asarray(page.pixels().filter(ImageFilter.GaussianBlur(0.5)), dtype=float)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    grain = np.random.default_rng(79).normal(0, 1.3, (height, width, 1))
    exposed = soft * (1 - 0.16 * (x**2 + y**2)[..., None] / 2) + grain
    return page, Image.fromarray(exposed.round().clip(0, 255).astype(np.uint8))
