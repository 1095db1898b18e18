// @ts-check
// Where the names of the classes are written: near their class, over no prototype and no other name. No DOM.

import { isShown, prototypePlace, reachOf } from './geometry.js';

/** @typedef {import('./geometry.js').Scene} Scene */
/** @typedef {import('./geometry.js').Box} Box */

/**
 * @typedef {object} Label
 * @property {number} label the class
 * @property {number} x its middle, in pixels
 * @property {number} y
 */

export const MOST_NAMES = 40; // more would cover the map
const HEIGHT = 16;
const GAP = 3;
const RINGS = [0, 18, 32, 46, 62, 80, 100];
const DIRECTIONS = [-0.25, 0.25, -0.15, -0.35, 0, 0.5, 0.1, 0.4].map((turn) => 2 * Math.PI * turn);

/**
 * Names that find no free place are left out: the legend has them all.
 *
 * @param {Scene} scene
 * @param {(label: number) => number} width of a class's name, in pixels
 * @param {Box[]} others what else is to be seen
 * @returns {Label[]}
 */
export function placed(scene, width, others) {
  const { frame, cloud, classes } = scene;
  const names = cloud.names.filter(([label]) => !classes || classes.has(label));
  if (names.length > MOST_NAMES) return [];
  const taken = [...others];
  for (let p = 0; p < scene.places.length; p += 1) if (isShown(scene, p)) taken.push(square(scene, p));
  const found = [];
  for (const [label, x, y] of names) {
    const half = width(label) / 2;
    const place = free(frame.x(x), frame.y(y), half, taken);
    if (!place) continue;
    taken.push(boxAt(place, half));
    found.push({ label, x: place[0], y: place[1] });
  }
  return found;
}

/**
 * @param {Scene} scene
 * @param {number} p
 * @returns {Box}
 */
const square = (scene, p) => around(prototypePlace(scene, p), reachOf(scene, p) + GAP);

/**
 * @param {[x: number, y: number]} place
 * @param {number} reach
 * @returns {Box}
 */
export const around = ([x, y], reach) => ({ left: x - reach, top: y - reach, right: x + reach, bottom: y + reach });

/**
 * @param {[x: number, y: number]} place
 * @param {number} half of its width
 * @returns {Box}
 */
const boxAt = ([x, y], half) => ({
  left: x - half - GAP,
  top: y - HEIGHT / 2,
  right: x + half + GAP,
  bottom: y + HEIGHT / 2,
});

/**
 * @param {number} x
 * @param {number} y
 * @param {number} half of the name's width
 * @param {Box[]} taken
 * @returns {[x: number, y: number] | null} the nearest free place
 */
function free(x, y, half, taken) {
  for (const ring of RINGS) {
    for (const turn of DIRECTIONS) {
      const place = /** @type {[number, number]} */ ([
        x + Math.cos(turn) * (ring && ring + half * Math.abs(Math.cos(turn))),
        y + Math.sin(turn) * ring,
      ]);
      const box = boxAt(place, half);
      if (!taken.some((other) => overlaps(box, other))) return place;
      if (!ring) break;
    }
  }
  return null;
}

/**
 * @param {Box} one
 * @param {Box} other
 */
export const overlaps = (one, other) =>
  one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
