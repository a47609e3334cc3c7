"""Make the three sample files beside this script: ``photo.png``, ``music.wav``, ``shape.obj``.

Run ``python samples/make_samples.py``. Everything is computed here from a fixed seed, so nothing
is borrowed: a lake at dusk, cast ray by ray over fractal terrain; plucked strings under a bowed
note; and a duck blended from ellipsoids.
"""

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.signal import fftconvolve, lfilter
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

HERE = Path(__file__).resolve().parent
SEED = 20240607

WIDTH, HEIGHT, OVERSAMPLE = 384, 256, 3
COLUMNS, ROWS = WIDTH * OVERSAMPLE, HEIGHT * OVERSAMPLE
#: Pixels per unit of slope, the horizon's row and the camera's metres above the water.
FOCAL, HORIZON, EYE = 0.95 * COLUMNS, 0.53 * ROWS, 4.0
#: Towards the light, and where on the image plane (slopes right and up) the sun's disc stands.
LIGHT = np.array([-0.76, 0.42, 0.30]) / np.linalg.norm([-0.76, 0.42, 0.30])
SUN = (-0.13, 0.213)
LATTICE = np.random.default_rng(SEED).uniform(-1.7, 1.7, (256, 256))

RATE, SECONDS = 22050, 4.0


def mix(a, b, weight):
    """Blend colours ``a`` and ``b`` (last axis RGB) by ``weight`` (no such axis), held to 0..1."""
    return np.asarray(a) + np.subtract(b, a) * np.clip(weight, 0, 1)[..., None]


def step(low, high, x):
    """Rise smoothly from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def fbm(x, y, octaves, ridged=False, gain=0.5):
    """Fractal noise in about -1..1 (``ridged``: 0..1 with sharp crests); features of size 1."""
    total, amplitude, norm = 0.0, 1.0, 0.0
    for octave in range(octaves):
        at = [y + 37.7 * octave, x + 91.3 * octave]
        value = map_coordinates(LATTICE, at, order=3, mode="grid-wrap", prefilter=False)
        total = total + amplitude * (1 - 1.6 * np.abs(value) if ridged else value)
        norm, amplitude = norm + amplitude, amplitude * gain
        x, y = 1.6 * x + 1.2 * y, 1.6 * y - 1.2 * x
    return total / norm


def terrain(x, z, octaves):
    """The ground's height in metres above the lake, without trees and stones."""
    shore = np.hypot((x - 45) / 0.62, z - 330) - 320
    shore = shore + 45 * step(15, 150, z) * fbm(x / 90, z / 90, 3)
    bank = 0.10 * shore + np.clip(shore - 15, 0, 500) * (0.1 + 0.075 * fbm(x / 400, z / 400, 2))
    peaks = fbm(x / 1900 + 4.2, z / 1900 + 0.3, octaves, ridged=True)
    rise = step(700, 4200, z + 0.35 * np.abs(x))
    return np.maximum(bank, -6) + rise * (60 + 1350 * np.clip(peaks, 0, 1) ** 1.5)


def nearest(places, radius, x, z, reach):
    """Distance to the nearest of ``places`` in its ``radius`` (inf past ``reach``); its index."""
    away, index = cKDTree(places).query(np.stack([x, z], -1), distance_upper_bound=reach)
    index = np.minimum(index, len(places) - 1)
    return away / radius[index], index


def trees_and_stones(rng, x, z, ground):
    """Heights above the ground of conifers (ragged cones) and of boulders, and a tone for each."""
    places = rng.uniform((-1500, 40), (1500, 3000), (330_000, 2))
    level, patch = terrain(*places.T, 3), fbm(*places.T / 120, 3)
    places = places[(level > 1.2) & (level < 230) & (patch > -0.28)]
    radius = rng.uniform(1.3, 3.2, len(places))
    away, tree = nearest(places, radius, x, z, 3.5)
    cone = np.clip(1 - away * rng.uniform(0.5, 1.5, x.shape), 0, None)
    places = rng.uniform((-16, 6.2), (16, 30), (420, 2))
    size = 0.1 + 0.6 * rng.random(len(places)) ** 4
    away, stone = nearest(places, size, x, z, 1.2)
    dome = np.clip(1 - (away * (1 + 0.2 * fbm(x * 1.7, z * 1.7, 4))) ** 2, 0, None)
    trees = 5.3 * radius[tree] * cone * (ground > 0.3)
    return trees, radius[tree] / 3.2, 0.75 * size[stone] * dome, 0.3 + 0.6 * (stone * 0.618 % 1)


def sunlit(x, z, height):
    """How much direct light reaches each point past the terrain, 0..1."""
    cells = np.arange(0, 12_000, 12.0)
    coarse = terrain(*np.meshgrid(cells - 6000, cells), 7)
    clear = np.full(x.shape, np.inf)
    for reach in np.geomspace(15, 2500, 28):
        at = [(z + reach * LIGHT[2]) / 12, (x + reach * LIGHT[0] + 6000) / 12]
        above = height + reach * LIGHT[1] - map_coordinates(coarse, at, order=1, mode="nearest")
        clear = np.minimum(clear, above / reach)
    return step(-0.05, 0.06, clear)


def sky(u, s):
    """The sky's linear colour along slopes ``u`` (right) and ``s`` (up)."""
    up = np.clip(s, 0, None)
    near = np.exp(-(((u - SUN[0]) / 0.55) ** 2))
    low = mix([0.80, 0.62, 0.62], [1.25, 0.66, 0.30], near)
    colour = mix(low, [0.14, 0.30, 0.66], step(-0.04, 0.33, up))
    ray = 1 / (up + 0.11)
    cloud = fbm(u * ray * 1.3 + 3.1, ray * 2.0 + 0.6 * fbm(u * ray, ray, 2), 6)
    density = step(-0.1, 0.6, cloud) * step(0.0, 0.1, up)
    lit = mix([0.42, 0.37, 0.50], [1.9, 0.80, 0.48], near + 0.25 - 0.5 * cloud)
    away = np.hypot(u - SUN[0], s - SUN[1])
    glow = np.exp(-away / 0.10)[..., None] * [0.9, 0.55, 0.25]
    disc = (step(0.022, 0.010, away) * (1 - 0.7 * density))[..., None] * [5.0, 4.0, 2.4]
    return mix(colour, lit, 0.8 * density) + glow + disc


def ground_colour(x, z, height, steep):
    """The ground's albedo from where it is, and how steep it is."""
    speck = fbm(x * 2.2, z * 2.2, 5, gain=0.8)
    patch = fbm(x / 35, z / 35, 4)
    grass = mix([0.08, 0.12, 0.03], [0.30, 0.24, 0.08], 0.5 + 0.5 * patch + 0.9 * speck)
    rock = mix([0.15, 0.13, 0.13], [0.33, 0.28, 0.25], 0.5 + 0.5 * fbm(x / 60, height / 14, 4))
    colour = mix(grass, rock, step(0.45, 0.75, steep + height / 1500))
    snow = step(380, 620, height + 160 * patch) * step(1.25, 0.75, steep)
    colour = mix(colour, [0.86, 0.88, 0.94], snow)
    gravel = mix([0.20, 0.17, 0.13], [0.36, 0.31, 0.25], 0.5 + speck)
    return mix(colour, gravel, step(0.75, 0.35, height + 0.2 * speck) * (z < 900))


def land(rng):
    """Heights and linear colours of the land, sampled along each column's vertical plane."""
    depth = 5 * 1800 ** np.linspace(0, 1, 2000)[:, None] ** 1.3  # denser near by
    u = (np.arange(COLUMNS) + 0.5 - COLUMNS / 2) / FOCAL
    x, z = depth * u, np.broadcast_to(depth, (len(depth), COLUMNS))
    ground = terrain(x, z, 10)
    ground = ground + 0.14 * fbm(x * 0.6, z * 0.6, 6, gain=0.55) * step(120, 20, z)
    trees, tree_tone, stones, stone_tone = trees_and_stones(rng, x, z, ground)
    height = ground + stones + trees
    across = np.gradient(height, axis=1) / (depth / FOCAL)
    along = np.gradient(height, axis=0) / np.gradient(depth, axis=0) - u * across
    normal = np.stack([-across, np.ones_like(across), -along], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    direct = np.clip(normal @ LIGHT, 0, None) * sunlit(x, z, height + 2)
    colour = ground_colour(x, z, ground, np.hypot(across, along))
    grove = tree_tone**2 * (0.7 + 0.6 * fbm(x / 60, z / 60, 3))
    needles = mix([0.02, 0.045, 0.028], [0.11, 0.12, 0.035], grove)
    needles = mix(needles, [0.26, 0.16, 0.03], tree_tone * 50 % 1 > 0.96)  # larches turn gold
    colour = np.where((trees > 0)[..., None], needles, colour)
    boulder = mix([0.10, 0.10, 0.10], [0.36, 0.31, 0.27], stone_tone + 0.35 * fbm(x * 5, z * 5, 4))
    colour = np.where((stones > 0)[..., None], boulder, colour)
    ambient = (0.25 + 0.35 * normal[..., 1:2]) * [0.40, 0.50, 0.75]
    light = direct[..., None] * [3.6, 2.45, 1.45] + ambient
    shade = np.where(trees > 0, 0.35 + 0.65 * trees / 12, 1.0)[..., None]
    haze = sky(np.broadcast_to(u, x.shape), np.full(x.shape, 0.06)) * [0.80, 0.92, 1.12]
    return depth[:, 0], height, mix(colour * light * shade, haze, 0.85 * (1 - np.exp(-z / 8000)))


def view(slopes, colour, u, s):
    """What rays with slopes ``u`` and ``s`` see: land where they meet it, else the sky."""
    columns = np.clip(np.round(u * FOCAL + COLUMNS / 2 - 0.5), 0, COLUMNS - 1).astype(int)
    # Skylines rise with depth within -4..4: set 8 apart, all columns are one sorted list.
    skyline = np.maximum.accumulate(slopes, axis=0).T + 8.0 * np.arange(COLUMNS)[:, None]
    hit = np.searchsorted(skyline.ravel(), s + 8.0 * columns) - columns * len(slopes)
    seen = colour[np.minimum(hit, len(slopes) - 1), columns]
    return np.where((hit < len(slopes))[..., None], seen, sky(u, s)), hit


def water(depth, height, colour, u, s):
    """The lake along downward rays: the rippled reflection over the shallows' bottom."""
    reach = EYE / np.clip(-s, 1e-4, None)
    x = reach * u
    calm = (0.35 + 0.65 * step(-0.3, 0.5, fbm(x / 45, reach / 16, 3))) / (1 + reach / 130)
    ripple = calm * fbm(x / 0.8, reach / 0.55, 4)
    sway = calm * fbm(x / 1.1 + 50, reach / 0.8, 3)
    slopes = np.where((height > 0) & (depth > 30)[:, None], (height + EYE) / depth[:, None], -4)
    mirrored, _ = view(slopes, colour, u + 0.02 * sway, np.abs(-s + 0.06 * ripple))
    sine = np.clip(-s / np.sqrt(1 + u * u + s * s) - 0.09 * ripple, 0, 1)
    fresnel = 0.03 + 0.97 * (1 - sine) ** 5
    row = np.interp(reach, depth, np.arange(len(depth)))
    column = u * FOCAL + COLUMNS / 2 - 0.5
    floor = -map_coordinates(height, [row, column], order=1, mode="nearest")
    bottom = mix([0.01, 0.04, 0.06], [0.15, 0.13, 0.09], np.exp(-2.2 * np.clip(floor, 0, 9)))
    return mix(bottom, mirrored * 0.95, fresnel)


def draw_pine(rng, colour, foot, top, bottom, spread):
    """Draw a near pine over ``colour`` in place: a trunk and boughs of single needles."""
    canvas = Image.new("RGBA", (COLUMNS, ROWS))
    draw = ImageDraw.Draw(canvas)
    draw.polygon([(foot, top), (foot + 11, bottom), (foot - 11, bottom)], fill=(52, 38, 30, 255))
    for y in np.sort(rng.uniform(top, 0.86 * bottom + 0.14 * top, 230)):
        reach = 8 + spread * ((y - top) / (bottom - top)) ** 0.8 * rng.uniform(0.35, 1.0)
        side = rng.choice([-1, 1])
        leaf = [34, 46, 26] + np.array([46, 26, 2]) * (0.5 - 0.5 * side * rng.random())
        for along in np.repeat(np.linspace(0, 1, int(reach / 2.2) + 4), 3):
            at = foot + side * reach * along, y + reach * (0.42 * along - 0.22 * along**3)
            tip = at[0] + side * rng.uniform(-3, 9), at[1] + rng.uniform(-6, 11)
            fill = (rng.uniform(0.5, 1.2) * leaf).astype(int).tolist()
            draw.line([at, tip], fill=(*fill, 255), width=2)
    layer = np.asarray(canvas, float) / 255
    colour[:] = mix(colour, layer[..., :3] ** 2.2, layer[..., 3])


def make_photo(rng):
    """The lake at dusk as an 8-bit RGB array, with lens vignette and film grain."""
    row, column = np.mgrid[0:ROWS, 0:COLUMNS] + 0.5
    u, s = (column - COLUMNS / 2) / FOCAL, (HORIZON - row) / FOCAL
    depth, height, ground = land(rng)
    colour, hit = view((height - EYE) / depth[:, None], ground, u, s)
    far = np.append(depth, np.inf)[np.minimum(hit, len(depth))]
    lake = (s < 0) & (EYE / np.clip(-s, 1e-4, None) < far)
    colour[lake] = water(depth, height, ground, u, s)[lake]
    draw_pine(rng, colour, 0.085 * COLUMNS, 0.10 * ROWS, 1.12 * ROWS, 0.17 * COLUMNS)
    colour *= (1 - 0.55 * (u**2 + s**2) / 0.4)[..., None]
    colour = colour.reshape(HEIGHT, OVERSAMPLE, WIDTH, OVERSAMPLE, 3).mean(axis=(1, 3))
    colour += 0.3 * gaussian_filter(np.clip(colour - 0.9, 0, None), (6, 6, 0))
    tone = (1 - np.exp(-1.35 * colour)) ** (1 / 2.2)
    tone = 0.6 * tone + 0.4 * step(0, 1, tone)
    grain = gaussian_filter(rng.standard_normal((HEIGHT, WIDTH)), 0.5)[..., None]
    return np.round(255 * np.clip(tone + 0.012 * grain, 0, 1)).astype(np.uint8)


def pluck(rng, midi, seconds):
    """A Karplus-Strong string: a noisy bend sent round a damped delay line tuned to ``midi``."""
    period = RATE / (440 * 2 ** ((midi - 69) / 12)) - 0.5
    whole = int(period)
    burst = np.zeros(int(seconds * RATE))
    bent = np.interp(np.arange(whole) / whole, [0, 0.1, 0.5, 0.9, 1], [0, 1, 0, -1, 0])
    burst[:whole] = bent + 0.35 * np.hanning(whole) * rng.uniform(-1, 1, whole)
    loop = 0.996 * np.convolve([1 - period + whole, period - whole], [0.5, 0.5])
    string = lfilter([1], np.concatenate([[1], np.zeros(whole - 1), -loop]), burst)
    return string / np.sqrt(np.mean(string[: RATE // 10] ** 2))


def bow(midi, seconds):
    """A bowed note: falling harmonics under a slow swell and a vibrato that sets in late."""
    t = np.arange(int(seconds * RATE)) / RATE
    wobble = 0.006 * step(0.25, 0.8, t) * np.sin(2 * np.pi * 5.4 * t)
    phase = 2 * np.pi * np.cumsum(440 * 2 ** ((midi - 69) / 12) * (1 + wobble)) / RATE
    tone = sum(np.sin(k * phase) * k**-1.4 for k in range(1, 11))
    return tone * step(0, 0.35, t) * step(seconds, seconds - 0.6, t)


def make_music(rng):
    """Four seconds of plucked melody and chords under a bowed note, in a small hall."""
    chords = {0.0: (45, 52, 57, 60), 1.6: (41, 48, 53, 57), 2.6: (43, 50, 55, 59)}
    melody = 76, 74, 72, 76, 81, 79, 77, 72, 74, 79, 76
    score = [(beat + 0.03 * i, m, 0.5) for beat, four in chords.items() for i, m in enumerate(four)]
    score += [(0.09 + 0.27 * beat, midi, 0.8) for beat, midi in enumerate(melody)]
    notes = [(start, loud * pluck(rng, midi, SECONDS)) for start, midi, loud in score]
    dry = np.zeros(int(SECONDS * RATE))
    for start, note in [*notes, (1.55, 0.5 * bow(64, 2.3))]:
        begin = int(start * RATE)
        dry[begin : begin + note.size] += note[: dry.size - begin]
    t = np.arange(int(1.3 * RATE)) / RATE
    hall = lfilter([0.4], [1, -0.6], rng.normal(size=t.size)) * np.exp(-t / 0.28) * step(0, 0.02, t)
    wet = dry + 0.3 * fftconvolve(dry, hall / np.linalg.norm(hall))[: dry.size]
    time = np.arange(dry.size) / RATE
    wet = wet * step(0, 0.01, time) * step(SECONDS, SECONDS - 0.7, time)
    wet = np.tanh(1.2 * wet / np.abs(wet).max())  # rounds off the loudest attacks
    return 0.8 * wet / np.abs(wet).max()


def ellipsoid(p, centre, radii, pitch):
    """A signed distance (nearly) to an ellipsoid tilted by ``pitch`` in the plane of x and y."""
    x, y, z = (p[axis] - centre[axis] for axis in range(3))
    c, s = np.cos(pitch), np.sin(pitch)
    q = np.stack([c * x + s * y, c * y - s * x, z]) / np.reshape(radii, (3, 1, 1, 1))
    inner = np.linalg.norm(q, axis=0)
    slope = np.linalg.norm(q / np.reshape(radii, (3, 1, 1, 1)), axis=0)
    return inner * (inner - 1) / np.maximum(slope, 1e-9)


def blend(a, b, width):
    """The union of two distance fields, rounded over ``width``."""
    h = np.clip(0.5 + 0.5 * (b - a) / width, 0, 1)
    return b + (a - b) * h - width * h * (1 - h)


#: Body, tail, neck, head, bill, wing and eye: centre, radii, tilt and how softly each is joined.
DUCK = [
    ((-0.05, -0.10, 0.0), (0.85, 0.48, 0.55), 0.08, 0.1),
    ((-0.86, 0.16, 0.0), (0.32, 0.12, 0.22), -0.75, 0.22),
    ((0.50, 0.38, 0.0), (0.23, 0.42, 0.23), -0.15, 0.20),
    ((0.58, 0.80, 0.0), (0.36, 0.33, 0.32), 0.0, 0.08),
    ((0.96, 0.72, 0.0), (0.25, 0.10, 0.18), 0.10, 0.08),
    ((-0.20, 0.02, 0.50), (0.50, 0.24, 0.12), -0.22, 0.06),
    ((0.75, 0.90, 0.22), (0.085, 0.09, 0.085), 0.0, 0.02),
]


def make_shape():
    """A duck's vertices and (counting from 1, as OBJ does) the triangles of its closed surface."""
    lo, spacing = np.array([-1.25, -0.75, -0.8]), 0.05
    size = np.ceil((np.array([1.35, 1.4, 0.8]) - lo) / spacing).astype(int)
    p = np.indices(size) * spacing + lo[:, None, None, None]
    p[2] = np.abs(p[2])
    duck = np.full(size, 9.0)
    for centre, radii, pitch, width in DUCK:
        duck = blend(duck, ellipsoid(p, centre, radii, pitch), width)
    duck = np.where(duck < 0, -1, 1) * np.maximum(np.abs(duck), 0.04 * spacing)  # no slivers
    points, faces, _, _ = marching_cubes(duck, spacing=(spacing,) * 3, level=0)
    return points + lo, faces + 1


def main():
    """Write the three files and say how large each is."""
    rng = np.random.default_rng(SEED)
    Image.fromarray(make_photo(rng)).save(HERE / "photo.png", optimize=True)
    soundfile.write(HERE / "music.wav", make_music(rng), RATE, subtype="PCM_16")
    with (HERE / "shape.obj").open("w", newline="\n") as file:
        points, faces = make_shape()
        np.savetxt(file, points, "v %.4f %.4f %.4f")
        np.savetxt(file, faces, "f %d %d %d")
    for name in ("photo.png", "music.wav", "shape.obj"):
        print(f"{name}: {(HERE / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
