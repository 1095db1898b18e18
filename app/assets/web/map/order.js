// @ts-check
// The order in which dots are drawn, and which dot is near a point. No DOM.

import { has } from './mask.js';

/** @typedef {import('./data.js').Cloud} Cloud */
/** @typedef {import('./mask.js').Mask} Mask */

const SEED = 17;
const CELLS = 256; // on each side of the map

/**
 * Training images, then test images, each shuffled: no class is always on top, and the first of each are a sample.
 *
 * @param {number} train
 * @param {number} total
 * @param {number} [seed]
 * @returns {Uint32Array}
 */
export function drawingOrder(train, total, seed = SEED) {
  const order = new Uint32Array(total);
  for (let i = 0; i < total; i += 1) order[i] = i;
  const random = mulberry(seed);
  for (const [first, end] of [
    [0, train],
    [train, total],
  ]) {
    for (let at = end - 1; at > first; at -= 1) {
      const other = first + Math.floor(random() * (at - first + 1));
      const moved = order[at];
      order[at] = order[other];
      order[other] = moved;
    }
  }
  return order;
}

/**
 * Mulberry32 (Tommy Ettinger, 2017).
 *
 * @param {number} seed
 * @returns {() => number} uniform in 0…1
 */
function mulberry(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A grid over the map that finds the nearest image. */
export class Nearest {
  /** @param {Pick<Cloud, 'xs' | 'ys' | 'total'>} cloud */
  constructor({ xs, ys, total }) {
    this.xs = xs;
    this.ys = ys;
    const cells = new Uint16Array(total);
    this.ends = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < total; i += 1) {
      cells[i] = CELLS * cell(ys[i]) + cell(xs[i]);
      this.ends[cells[i] + 1] += 1;
    }
    for (let at = 1; at < this.ends.length; at += 1) this.ends[at] += this.ends[at - 1];
    const next = this.ends.slice();
    this.images = new Uint32Array(total);
    for (let i = 0; i < total; i += 1) this.images[next[cells[i]]++] = i;
  }

  /**
   * @param {[x: number, y: number]} point in the map's coordinates
   * @param {number} reach
   * @param {Mask | null} shown the images to choose from, null for all
   * @returns {number} -1 for none within reach
   */
  find([x, y], reach, shown) {
    let found = -1;
    let least = reach * reach;
    for (let row = cell(y - reach); row <= cell(y + reach); row += 1) {
      const first = this.ends[CELLS * row + cell(x - reach)];
      const end = this.ends[CELLS * row + cell(x + reach) + 1];
      for (let at = first; at < end; at += 1) {
        const i = this.images[at];
        const away = (this.xs[i] - x) ** 2 + (this.ys[i] - y) ** 2;
        if (away > least || (shown && !has(shown, i))) continue;
        [found, least] = [i, away];
      }
    }
    return found;
  }
}

/** @param {number} value in the map's coordinates; what is outside belongs to the cell at the border */
const cell = (value) => Math.min(CELLS - 1, Math.max(0, Math.floor(((value + 1) / 2) * CELLS)));
