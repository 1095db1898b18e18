// @ts-check
// What is painted over the cloud: prototypes, the names of the classes, outlines, a picture with its lines, rings.

import { apart, imagePlace, isShown, prototypePlace, ringOf, sideOf, sizeIn } from './geometry.js';
import { around, placed } from './labels.js';

/** @typedef {import('./geometry.js').Point} Point */
/** @typedef {{ ink: string, paper: string, accent: string, font: string }} Style */

/**
 * @typedef {object} Painted
 * @property {string[]} names of the classes
 * @property {string[]} squares the colour of each prototype
 * @property {number[]} far images that are far from all others
 * @property {Set<number> | null} focus the prototypes that stand out, null for all
 * @property {string} marked the name of what is ringed
 * @property {number} cursor the prototype that the keyboard is on, −1 for none
 * @property {Point[]} outline of the selection, in the map's coordinates
 * @property {Point[]} stroke that is being drawn, in pixels
 * @property {[child: number, from: Point][]} splits the prototypes that the last step split, and where from
 * @property {Picture | null} picture
 */

/** @typedef {import('./geometry.js').Scene & Painted} Painting */

/**
 * A picture that was brought here, and its nearest prototypes, nearest first.
 *
 * @typedef {{ place: Point, image: HTMLImageElement | null, lines: number[] }} Picture in the map's coordinates
 */

const THUMBNAIL = 48;
const PALE = 0.22;

/**
 * @param {CanvasRenderingContext2D} pen clear, in CSS pixels
 * @param {Painting} scene
 * @param {Style} style
 */
export function paint(pen, scene, style) {
  paintOutline(pen, scene, style);
  paintFar(pen, scene, style);
  paintSplits(pen, scene, style);
  paintLines(pen, scene, style);
  paintPrototypes(pen, scene, style);
  paintNames(pen, scene, style);
  paintRing(pen, scene, style);
  paintPicture(pen, scene, style);
}

/**
 * A cross over each image that is far from all others; one for those that lie on each other.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {Painting} scene
 * @param {Style} style
 */
function paintFar(pen, scene, { ink }) {
  pen.beginPath();
  for (const place of apart(
    scene.far.map((i) => imagePlace(scene, i)),
    scene.frame.size,
  ))
    cross(pen, place, 2.5);
  pen.lineWidth = 1;
  pen.globalAlpha = 0.7;
  pen.strokeStyle = ink;
  pen.stroke();
  pen.globalAlpha = 1;
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Point} place
 * @param {number} reach
 */
function cross(pen, [x, y], reach) {
  pen.moveTo(x - reach, y - reach);
  pen.lineTo(x + reach, y + reach);
  pen.moveTo(x - reach, y + reach);
  pen.lineTo(x + reach, y - reach);
}

/**
 * What was one prototype before the last step.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {Painting} scene
 * @param {Style} style
 */
function paintSplits(pen, scene, { ink }) {
  pen.beginPath();
  for (const [p, [x, y]] of scene.splits) {
    if (!isShown(scene, p)) continue;
    pen.moveTo(scene.frame.x(x), scene.frame.y(y));
    pen.lineTo(...prototypePlace(scene, p));
  }
  pen.lineWidth = 2;
  pen.lineCap = 'round';
  pen.strokeStyle = ink;
  pen.stroke();
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Painting} scene
 * @param {Style} style
 */
function paintPrototypes(pen, scene, style) {
  for (const strong of [false, true]) {
    for (let p = scene.places.length - 1; p >= 0; p -= 1) {
      const stands = !scene.focus || scene.focus.has(p);
      if (stands !== strong || !isShown(scene, p)) continue;
      pen.globalAlpha = strong ? 1 : PALE;
      paintPrototype(pen, scene, p, style);
    }
  }
  pen.globalAlpha = 1;
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Painting} scene
 * @param {number} p
 * @param {Style} style
 */
function paintPrototype(pen, scene, p, { ink, paper }) {
  const { layer, squares } = scene;
  const size = sizeIn(scene);
  const place = prototypePlace(scene, p);
  const side = sideOf(scene, p);
  outline(pen, place, side, layer.ghost[p]);
  pen.lineJoin = 'round';
  pen.lineWidth = 5 * size + 1;
  pen.strokeStyle = paper;
  pen.stroke();
  pen.fillStyle = squares[p];
  pen.fill();
  pen.lineWidth = layer.ghost[p] ? 1.6 * size : 1;
  pen.strokeStyle = ink;
  pen.setLineDash(layer.ghost[p] ? [3, 2] : []);
  pen.stroke();
  pen.setLineDash([]);
  if (!layer.far[p]) return;
  pen.beginPath();
  cross(pen, place, side);
  pen.stroke();
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Point} place
 * @param {number} side
 * @param {boolean} ghost a diamond instead of a square
 */
function outline(pen, [x, y], side, ghost) {
  pen.beginPath();
  if (ghost) {
    pen.moveTo(x, y - side);
    pen.lineTo(x + side, y);
    pen.lineTo(x, y + side);
    pen.lineTo(x - side, y);
    pen.closePath();
  } else {
    pen.roundRect(x - side / 2, y - side / 2, side, side, Math.min(3, side / 5));
  }
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Painting} scene
 * @param {Style} style
 */
function paintNames(pen, scene, { ink, paper, font }) {
  pen.font = `600 13px ${font}`;
  pen.textAlign = 'center';
  pen.textBaseline = 'middle';
  pen.lineJoin = 'round';
  const width = (/** @type {number} */ label) => pen.measureText(shortened(scene.names[label])).width;
  for (const { label, x, y } of placed(scene, width, notCovered(scene))) {
    const text = shortened(scene.names[label]);
    pen.lineWidth = 4;
    pen.strokeStyle = paper;
    pen.strokeText(text, x, y);
    pen.fillStyle = ink;
    pen.fillText(text, x, y);
  }
}

/**
 * What a name does not cover, beside prototypes: the picture, and what is marked.
 *
 * @param {Painting} scene
 */
function notCovered(scene) {
  const ring = ringOf(scene, scene.marked);
  const { picture, frame } = scene;
  return [
    ...(ring ? [around(ring.place, ring.radius + 2)] : []),
    ...(picture ? [around([frame.x(picture.place[0]), frame.y(picture.place[1])], THUMBNAIL / 2 + 5)] : []),
  ];
}

/** @param {string} name */
const shortened = (name) => (name.length > 24 ? `${name.slice(0, 23)}…` : name);

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Painting} scene
 * @param {Style} style
 */
function paintRing(pen, scene, { ink, paper, accent }) {
  for (const [name, colour, dash] of /** @type {[string, string, number[]][]} */ ([
    [scene.marked, ink, []],
    [`prototype-${scene.cursor}`, accent, [4, 3]],
  ])) {
    const ring = ringOf(scene, name);
    if (!ring) continue;
    pen.beginPath();
    pen.arc(ring.place[0], ring.place[1], ring.radius, 0, 2 * Math.PI);
    pen.lineWidth = 6;
    pen.strokeStyle = paper;
    pen.stroke();
    pen.lineWidth = 2.5;
    pen.strokeStyle = colour;
    pen.setLineDash(dash);
    pen.stroke();
    pen.setLineDash([]);
  }
}

/**
 * What is selected, and what is being drawn.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {Painting} scene
 * @param {Style} style
 */
function paintOutline(pen, { frame, outline: corners, stroke }, { accent }) {
  const drawn = stroke.length ? stroke : corners.map(([x, y]) => /** @type {Point} */ ([frame.x(x), frame.y(y)]));
  if (drawn.length < 2) return;
  pen.beginPath();
  for (const [x, y] of drawn) pen.lineTo(x, y);
  pen.closePath();
  pen.fillStyle = accent;
  pen.globalAlpha = 0.08;
  pen.fill();
  pen.globalAlpha = 1;
  pen.lineJoin = 'round';
  pen.lineWidth = 1.8;
  pen.strokeStyle = accent;
  pen.setLineDash([6, 4]);
  pen.stroke();
  pen.setLineDash([]);
}

/**
 * From a picture to its nearest prototypes: dashed to those of another class than the nearest one's.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {Painting} scene
 * @param {Style} style
 */
function paintLines(pen, scene, { ink, paper }) {
  if (!scene.picture) return;
  const { place, lines } = scene.picture;
  const { layer, frame } = scene;
  [...lines.entries()].reverse().forEach(([rank, p]) => {
    if (p >= layer.x.length) return;
    pen.beginPath();
    pen.moveTo(frame.x(place[0]), frame.y(place[1]));
    pen.lineTo(...prototypePlace(scene, p));
    pen.lineCap = 'round';
    pen.lineWidth = 6;
    pen.strokeStyle = paper;
    pen.stroke();
    pen.lineWidth = rank ? 1.6 : 3;
    pen.strokeStyle = ink;
    pen.setLineDash(layer.class[p] === layer.class[lines[0]] ? [] : [5, 5]);
    pen.stroke();
    pen.setLineDash([]);
  });
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Painting} scene
 * @param {Style} style
 */
function paintPicture(pen, { frame, picture }, { ink, paper }) {
  if (!picture) return;
  const [left, top] = [frame.x(picture.place[0]) - THUMBNAIL / 2, frame.y(picture.place[1]) - THUMBNAIL / 2];
  pen.beginPath();
  pen.roundRect(left, top, THUMBNAIL, THUMBNAIL, 6);
  pen.lineWidth = 7;
  pen.strokeStyle = paper;
  pen.stroke();
  pen.lineWidth = 3;
  pen.strokeStyle = ink;
  pen.stroke();
  pen.fillStyle = paper;
  pen.fill();
  if (!picture.image?.complete || !picture.image.naturalWidth) return;
  pen.save();
  pen.clip();
  const { naturalWidth: width, naturalHeight: height } = picture.image;
  const scale = THUMBNAIL / Math.min(width, height);
  pen.imageSmoothingEnabled = scale < 1;
  pen.drawImage(
    picture.image,
    left + (THUMBNAIL - width * scale) / 2,
    top + (THUMBNAIL - height * scale) / 2,
    width * scale,
    height * scale,
  );
  pen.restore();
}
