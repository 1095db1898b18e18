"""Drawing of the cartoon faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

SIDE = 64

SCALE = 3

HAIR = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Red_Hair", "Grey_Hair")

Colour = tuple[int, int, int]

Choice = TypeVar("Choice")

_BACKGROUNDS = ((214, 232, 240), (240, 228, 214), (222, 238, 216), (236, 222, 238), (244, 238, 208), (216, 222, 242))

_CLOTHES = ((58, 110, 165), (190, 74, 60), (72, 140, 90), (120, 84, 160), (70, 78, 92), (214, 150, 50), (60, 150, 160))

_LIGHT = ((255, 224, 196), (250, 210, 178), (240, 194, 160), (232, 184, 146))

_DARK = ((168, 112, 76), (146, 94, 62), (122, 76, 50), (100, 62, 42))

_HAIR = {
    "Black_Hair": (34, 30, 36), "Brown_Hair": (106, 66, 38), "Blond_Hair": (232, 192, 96), "Red_Hair": (196, 84, 36),
    "Grey_Hair": (190, 192, 198),
}  # fmt: skip

_EYES = ((70, 48, 34), (64, 110, 160), (74, 122, 80))

_INK: Colour = (52, 38, 42)


def _mix(base: Colour, tint: Colour, share: float) -> Colour:
    first, second, third = (round(a + (b - a) * share) for a, b in zip(base, tint, strict=True))
    return first, second, third


def _pick(choices: Sequence[Choice], position: float) -> Choice:
    return choices[min(int(position * len(choices)), len(choices) - 1)]


class Painter:
    """One face, in units of the finished picture's pixels.

    Args:
        age: the class.
        has: names of its attributes.
        looks: numbers in 0…1 that determine everything else.
    """

    def __init__(self, age: int, has: set[str], looks: np.ndarray) -> None:
        self.age, self.has = age, has
        given: Iterator[float] = iter(looks.tolist())
        self.next = lambda: next(given)
        self.canvas = Image.new("RGB", (SIDE * SCALE, SIDE * SCALE), _pick(_BACKGROUNDS, self.next()))
        self.draw = ImageDraw.Draw(self.canvas)
        self.skin = _pick(_DARK if "Dark_Skin" in has else _LIGHT, self.next())
        self.shade = _mix(self.skin, (90, 40, 30), 0.22)
        hair = next((_HAIR[name] for name in HAIR if name in has), _HAIR["Grey_Hair" if age == 2 else "Brown_Hair"])
        self.hair = _mix(hair, _pick(((255, 255, 255), (0, 0, 0)), self.next()), 0.12 * self.next())
        self.cloth = _pick(_CLOTHES, self.next())
        self.accent = _pick(_CLOTHES, self.next())
        self.wide = (15.5, 15.5, 14.6)[age] + 2.2 * (self.next() - 0.5)
        self.high = (15.5, 18.5, 18.8)[age] + 2.4 * (self.next() - 0.5)
        self.x = 32 + 3 * (self.next() - 0.5)
        self.y = (35.5, 33.5, 33.5)[age] + 2 * (self.next() - 0.5)
        self.eye = (3.7, 3.0, 2.6)[age] * (0.88 + 0.24 * self.next())
        self.eye_y = self.y + (1.4, -1.2, -1.4)[age] + 1.2 * (self.next() - 0.5)
        self.gap = self.wide * (0.42 + 0.05 * self.next())
        self.mouth_y = self.y + self.high * (0.55 + 0.05 * self.next())
        self.wrinkled = self.next() < (0.0, 0.1, 0.8)[age]
        self.iris = _pick(_EYES[:1] if "Dark_Skin" in has else _EYES, self.next())

    def paint(self) -> np.ndarray:
        """(64, 64, 3) uint8."""
        self._back()
        self._body()
        self._head()
        self._hair()
        self._lines()
        self._eyes()
        self._mouth()
        self._fringe()
        self._on_eyes()
        self._on_head()
        self._on_neck()
        return np.asarray(self.canvas.reduce(SCALE))

    def _oval(self, x: float, y: float, rx: float, ry: float, fill: Colour | None, line: Colour | None = None) -> None:
        box = [(x - rx) * SCALE, (y - ry) * SCALE, (x + rx) * SCALE, (y + ry) * SCALE]
        self.draw.ellipse(box, fill, line, SCALE if line else 0)

    def _part(
        self, x: float, y: float, rx: float, ry: float, start: int, end: int, fill: Colour, width: float = 0
    ) -> None:
        """A piece of an oval, from angle to angle (clockwise from the right): an edge, or filled without a width."""
        box = [(x - rx) * SCALE, (y - ry) * SCALE, (x + rx) * SCALE, (y + ry) * SCALE]
        if width:
            self.draw.arc(box, start, end, fill, round(width * SCALE))
        else:
            self.draw.chord(box, start, end, fill)

    def _shape(self, points: Sequence[tuple[float, float]], fill: Colour) -> None:
        self.draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill)

    def _box(self, x0: float, y0: float, x1: float, y1: float, radius: float, fill: Colour) -> None:
        self.draw.rounded_rectangle([x0 * SCALE, y0 * SCALE, x1 * SCALE, y1 * SCALE], radius * SCALE, fill)

    def _line(self, points: Sequence[tuple[float, float]], fill: Colour, width: float) -> None:
        self.draw.line([(x * SCALE, y * SCALE) for x, y in points], fill, max(1, round(width * SCALE)), "curve")

    def _back(self) -> None:
        if "Long_Hair" not in self.has:
            return
        x, y, wide = self.x, self.y, self.wide
        if "Curly_Hair" in self.has:
            for step in range(5):
                for side in (-1, 1):
                    self._oval(x + side * (wide + 0.5 + step % 2), y - 10 + 7 * step, 6, 5.5, self.hair)
        else:
            self._box(x - wide - 3.2, y - self.high * 0.7, x + wide + 3.2, y + self.high + 7, 9, self.hair)

    def _body(self) -> None:
        low = self.y + self.high
        self._box(self.x - 5.5, low - 8, self.x + 5.5, low + 8, 3, self.shade)
        reach = (15, 22, 21)[self.age]
        self._oval(self.x, low + 15, reach, 11.5, self.cloth)
        self._part(self.x, low + 3.4, 6.5, 5, 0, 180, self.skin)

    def _head(self) -> None:
        x, y = self.x, self.y
        for side in (-1, 1):
            self._oval(x + side * self.wide, self.eye_y + 3, 3, 4, self.shade)
        self._oval(x, y, self.wide, self.high, self.skin)
        if "Rosy_Cheeks" in self.has:
            for side in (-1, 1):
                self._oval(x + side * self.wide * 0.6, self.eye_y + 7, 3.2, 2.3, _mix(self.skin, (236, 80, 90), 0.45))
        if "Freckles" in self.has:
            for side in (-1, 1):
                for dx, dy in ((-2.2, 0), (0, 1.4), (2, -0.2), (0.2, -1.4)):
                    centre = x + side * self.wide * 0.52 + dx, self.eye_y + 5.8 + dy
                    self._oval(*centre, 0.62, 0.62, _mix(self.skin, (120, 50, 20), 0.62))
        self._part(x, self.eye_y + 5, 1.9, 2.2, 20, 160, _mix(self.skin, (90, 30, 20), 0.5), 0.9)

    def _lines(self) -> None:
        x = self.x
        if self.wrinkled:
            line = _mix(self.skin, (70, 30, 30), 0.42)
            for lift in (0, 2.4):
                self._line([(x - 6, self.eye_y - 8.4 - lift), (x + 6, self.eye_y - 8.4 - lift)], line, 0.6)
            for side in (-1, 1):
                self._part(x + side * self.gap, self.eye_y + 1.5, 4.4, 4, 35, 145, line, 0.6)
                self._line([(x + side * 4.4, self.mouth_y - 5), (x + side * 6.6, self.mouth_y - 0.5)], line, 0.7)

    def _eyes(self) -> None:
        size = self.eye
        brow = _mix(self.hair, _INK, 0.35)
        for side in (-1, 1):
            x = self.x + side * self.gap
            self._oval(x, self.eye_y, size, size * 1.05, (255, 255, 255))
            self._oval(x, self.eye_y + 0.2, size * 0.64, size * 0.7, self.iris)
            self._oval(x, self.eye_y + 0.2, size * 0.34, size * 0.38, (20, 18, 22))
            self._oval(x + size * 0.25, self.eye_y - size * 0.25, size * 0.2, size * 0.2, (255, 255, 255))
            thick = 2.1 if "Thick_Brows" in self.has else 0.8
            self._part(x, self.eye_y - 1, size + 1.2, size + 2.2, 215, 325, brow, thick)

    def _mouth(self) -> None:
        x, y = self.x, self.mouth_y
        lips = (206, 40, 70) if "Lipstick" in self.has else _mix(self.skin, (150, 40, 50), 0.6)
        beard = _mix(self.hair, (0, 0, 0), 0.08)
        if "Beard" in self.has:
            self._part(self.x, self.y + 1, self.wide + 0.6, self.high + 3, 18, 162, beard)
            self._oval(x, y - 2.2, 5.4, 2.6, self.skin)
        if "Mouth_Open" in self.has:
            self._oval(x, y, 4.2, 3.2, lips)
            if "Smile" in self.has:
                self._part(x, y - 1, 5.6, 5, 0, 180, lips)
                self._part(x, y - 1, 4.6, 3.8, 0, 180, (120, 30, 44))
                self._part(x, y - 1, 4.4, 2, 0, 180, (255, 255, 255))
            else:
                self._oval(x, y, 3, 2.2, (110, 28, 40))
        elif "Smile" in self.has:
            self._part(x, y - 2.6, 5.6, 4.6, 20, 160, lips, 1.9 if "Lipstick" in self.has else 1.2)
        else:
            self._line([(x - 3.6, y), (x + 3.6, y)], lips, 2 if "Lipstick" in self.has else 1.2)
        if "Moustache" in self.has:
            for side in (-1, 1):
                self._oval(x + side * 2.7, y - 3.3, 3.4, 1.7, beard)

    def _hair(self) -> None:
        x, y, wide, high = self.x, self.y, self.wide, self.high
        top = y - high
        if "Bald" in self.has:
            self._oval(x - wide * 0.35, top + 4.5, 3, 1.6, _mix(self.skin, (255, 255, 255), 0.45))
            return
        if "Curly_Hair" in self.has:
            for angle in np.linspace(190, 350, 9):
                turn = np.deg2rad(angle)
                self._oval(x + (wide + 0.5) * np.cos(turn), y - 1 + high * np.sin(turn), 4.6, 4.4, self.hair)
        else:
            self._part(x, y - 1.5, wide + 1.6, high + 1.6, 188, 352, self.hair)
            self._part(x + 2, self.eye_y - 2.5, wide - 1.5, high * 0.42, 180, 360, self.skin)
            for side in (-1, 1):
                self._box(x + side * wide - 1.5, y - 7, x + side * wide + 1.5, y, 1.4, self.hair)

    def _fringe(self) -> None:
        x, y, wide, high = self.x, self.y, self.wide, self.high
        if "Fringe" in self.has:
            low = self.eye_y - self.eye - 2.4
            self._part(x, y - 1, wide - 0.6, high, 205, 335, self.hair)
            for step in range(-3, 4):
                middle = x + step * wide * 0.23
                self._shape(
                    [(middle - 2.6, low - 2.5), (middle + 2.6, low - 2.5), (middle + 0.6, low + 1.8)], self.hair
                )

    def _on_eyes(self) -> None:
        x, y, reach = self.x, self.eye_y, self.eye + 1.8
        if "Eye_Patch" in self.has:
            self._line([(x - self.wide, y - 6), (x + self.wide, y + 1)], (30, 26, 30), 1.1)
            self._oval(x - self.gap, y - 0.3, reach + 0.4, reach + 0.4, (30, 26, 30))
        for kind in ("Glasses", "Sunglasses"):
            if kind not in self.has:
                continue
            frame = (40, 40, 48) if kind == "Sunglasses" else _mix(self.accent, (30, 20, 30), 0.45)
            for side in (-1, 1):
                centre = x + side * self.gap
                if kind == "Sunglasses":
                    self._box(
                        centre - reach - 0.6, y - reach + 0.6, centre + reach + 0.6, y + reach + 0.4, 2.4, (32, 34, 44)
                    )
                    self._line([(centre - 2.4, y + 1.4), (centre + 0.6, y - 1.8)], (120, 130, 150), 0.9)
                else:
                    self._part(centre, y, reach + 0.5, reach + 0.3, 0, 360, frame, 1.2)
                self._line([(centre + side * reach, y), (x + side * self.wide, y - 1)], frame, 1)
            self._line([(x - self.gap + reach, y), (x + self.gap - reach, y)], frame, 1.2)

    def _on_head(self) -> None:
        x, wide = self.x, self.wide
        top, brim = self.y - self.high, self.eye_y - self.eye - 4.2
        if "Cap" in self.has:
            self._part(x, brim, wide + 2, brim - top + 5, 180, 360, self.accent)
            peak = [(x - wide - 2, brim), (x + wide + 9, brim - 0.5), (x + wide + 9, brim + 2.6), (x - wide, brim + 2)]
            self._shape(peak, _mix(self.accent, (0, 0, 0), 0.3))
        if "Woolly_Hat" in self.has:
            self._part(x, brim, wide + 1.8, brim - top + 6, 180, 360, self.accent)
            self._box(
                x - wide - 2.2, brim - 3.4, x + wide + 2.2, brim + 1.8, 2, _mix(self.accent, (255, 255, 255), 0.5)
            )
            self._oval(x, top - 5.5, 3.8, 3.8, _mix(self.accent, (255, 255, 255), 0.65))
        if "Top_Hat" in self.has:
            self._box(x - wide * 0.72, -2, x + wide * 0.72, brim - 1, 1.5, (36, 34, 44))
            self._box(x - wide * 0.72, brim - 5, x + wide * 0.72, brim - 1.5, 0, self.accent)
            self._box(x - wide - 4, brim - 2, x + wide + 4, brim + 1.4, 1.6, (36, 34, 44))
        if "Headphones" in self.has:
            self._part(x, self.eye_y + 2, wide + 3, self.high + 3, 185, 355, (48, 50, 60), 2.2)
            for side in (-1, 1):
                self._box(
                    x + side * (wide + 1.6) - 3,
                    self.eye_y - 3,
                    x + side * (wide + 1.6) + 3,
                    self.eye_y + 7,
                    2.6,
                    self.accent,
                )
        if "Hair_Bow" in self.has:
            middle, high = x + wide * 0.5, top + 2
            for side in (-1, 1):
                self._shape(
                    [(middle, high), (middle + side * 7, high - 4.5), (middle + side * 7, high + 4.5)], (226, 70, 130)
                )
            self._oval(middle, high, 2, 2, (170, 40, 95))
        if "Earrings" in self.has:
            for side in (-1, 1):
                self._oval(x + side * (wide + 0.8), self.eye_y + 9.2, 2, 2.2, (250, 206, 60), (150, 104, 10))

    def _on_neck(self) -> None:
        x, low = self.x, self.y + self.high
        if "Scarf" in self.has:
            self._box(x - 11, low - 0.5, x + 11, low + 6, 3, self.accent)
            self._box(x + 3, low + 2, x + 9, low + 18, 2, _mix(self.accent, (0, 0, 0), 0.18))
        if "Bow_Tie" in self.has:
            for side in (-1, 1):
                self._shape([(x, low + 5.2), (x + side * 7, low + 1.4), (x + side * 7, low + 9)], (176, 24, 44))
            self._oval(x, low + 5.2, 1.8, 1.8, (110, 10, 26))
        if "Necklace" in self.has:
            for step in range(-4, 5):
                self._oval(x + step * 2, low + 7.6 - 0.24 * step * step, 1.25, 1.25, (250, 246, 236), (170, 160, 150))
