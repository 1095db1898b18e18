// @ts-check
// The outline that a person draws around images. A straight stroke is the diagonal of a box. No DOM.

import { emptyMask } from './mask.js';

/** @typedef {[x: number, y: number]} Point */

export const CORNERS = 60; // of an outline, at most
const FINE = 0.002; // of the map: less is not seen
const STRAIGHT = 0.08; // how far a stroke strays from its chord, as a share of it

/**
 * The outline of a stroke: itself, or the box between its ends if it is straight.
 *
 * @param {Point[]} stroke
 * @returns {Point[]}
 */
export function outlineOf(stroke) {
  const [first, last] = [stroke[0], stroke[stroke.length - 1]];
  if (!first) return [];
  const chord = Math.hypot(last[0] - first[0], last[1] - first[1]);
  const stray = Math.max(...stroke.map((point) => distance(point, first, last)));
  const slanted = Math.min(Math.abs(last[0] - first[0]), Math.abs(last[1] - first[1])) > 0.1 * chord;
  if (!slanted || stray > STRAIGHT * chord) return stroke;
  return [first, [last[0], first[1]], last, [first[0], last[1]]];
}

/**
 * The same outline with few corners (Ramer 1972, Douglas and Peucker 1973): the tolerance grows until they are few
 * enough.
 *
 * @param {Point[]} outline
 * @param {number} [most]
 * @returns {Point[]}
 */
export function simplified(outline, most = CORNERS) {
  let tolerance = FINE;
  let corners = thinned(outline, tolerance);
  while (corners.length > most) corners = thinned(outline, (tolerance *= 1.5));
  return corners;
}

/**
 * @param {Point[]} line
 * @param {number} tolerance
 * @returns {Point[]}
 */
function thinned(line, tolerance) {
  const keep = new Set([0, line.length - 1]);
  /** @type {[first: number, last: number][]} */
  const parts = [[0, line.length - 1]];
  for (let part = parts.pop(); part; part = parts.pop()) {
    const [first, last] = part;
    let [farthest, most] = [-1, tolerance];
    for (let at = first + 1; at < last; at += 1) {
      const away = distance(line[at], line[first], line[last]);
      if (away > most) [farthest, most] = [at, away];
    }
    if (farthest < 0) continue;
    keep.add(farthest);
    parts.push([first, farthest], [farthest, last]);
  }
  return line.filter((_, at) => keep.has(at));
}

/**
 * The distance of a point from the line between two.
 *
 * @param {Point} point
 * @param {Point} first
 * @param {Point} last
 */
function distance([x, y], [x0, y0], [x1, y1]) {
  const squared = (x1 - x0) ** 2 + (y1 - y0) ** 2;
  const along = squared ? Math.min(1, Math.max(0, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / squared)) : 0;
  return Math.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0));
}

/**
 * The places inside an outline, whose crossings count by the even-odd rule.
 *
 * @param {Point[]} outline
 * @param {Float32Array} xs of each place
 * @param {Float32Array} ys
 * @returns {import('./mask.js').Mask}
 */
export function insideMask(outline, xs, ys) {
  const mask = emptyMask(xs.length);
  const corners = Float64Array.from(outline.flat());
  const [left, right] = [Math.min(...outline.map(([x]) => x)), Math.max(...outline.map(([x]) => x))];
  const [low, high] = [Math.min(...outline.map(([, y]) => y)), Math.max(...outline.map(([, y]) => y))];
  for (let i = 0; i < xs.length; i += 1) {
    const [x, y] = [xs[i], ys[i]];
    if (x < left || x > right || y < low || y > high) continue;
    let crossings = 0;
    let [x0, y0] = [corners[corners.length - 2], corners[corners.length - 1]];
    for (let at = 0; at < corners.length; at += 2) {
      const [x1, y1] = [corners[at], corners[at + 1]];
      if (y1 > y !== y0 > y && x < x1 + ((y - y1) / (y0 - y1)) * (x0 - x1)) crossings += 1;
      [x0, y0] = [x1, y1];
    }
    mask[i >> 3] |= (crossings & 1) << (i & 7);
  }
  return mask;
}
