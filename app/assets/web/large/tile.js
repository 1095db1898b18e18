// @ts-check
// Tiles: how many images each bin has, by class. How they are read, which are seen, and what they look like. No DOM.

import { mixed } from '../map/colour.js';

/** @typedef {import('../map/colour.js').Colour} Colour */
/** @typedef {import('../map/geometry.js').Frame} Frame */
/** @typedef {import('../map/geometry.js').Point} Point */

/**
 * Columns of equal length, by bin: one entry for each class that a bin has.
 *
 * @typedef {object} Tile
 * @property {Uint16Array} place 256 times the row, plus the column; rows from below
 * @property {Uint16Array} label the class
 * @property {Uint32Array} count
 * @property {Uint32Array} wrong of the black box
 * @property {Uint32Array} example the number of an image
 */

/** @typedef {{ level: number, column: number, row: number }} Address */

/**
 * How bins are coloured.
 *
 * @typedef {object} Look
 * @property {'class' | 'density' | 'wrong'} by
 * @property {Colour[]} colours of the classes, of steps from few to many, or of right and wrong
 * @property {Set<number> | null} classes that are counted, null for all
 * @property {number} most images in a bin of this level
 */

export const BINS = 256;
const BYTES = 16; // of an entry
const [FAINT, FULL] = [130, 255]; // opacity of a bin with one image, and of the fullest

/**
 * @param {ArrayBuffer} buffer the number of entries as uint32, then the columns, little end first
 * @returns {Tile}
 * @throws {RangeError} where it is not that
 */
export function readTile(buffer) {
  const entries = buffer.byteLength < 4 ? -1 : new DataView(buffer).getUint32(0, true);
  if (buffer.byteLength !== 4 + BYTES * entries) throw new RangeError('This tile is damaged.');
  return {
    place: new Uint16Array(buffer, 4, entries),
    label: new Uint16Array(buffer, 4 + 2 * entries, entries),
    count: new Uint32Array(buffer, 4 + 4 * entries, entries),
    wrong: new Uint32Array(buffer, 4 + 8 * entries, entries),
    example: new Uint32Array(buffer, 4 + 12 * entries, entries),
  };
}

/**
 * The level at which a bin is at least a pixel wide, and less than two where there is such a level.
 *
 * @param {Frame} frame
 * @param {number} finest
 */
export const levelFor = ({ scale }, finest) =>
  Math.min(finest, Math.max(0, Math.floor(Math.log2(Math.max(1, (2 * scale) / BINS)))));

/**
 * The tiles of a level that are seen.
 *
 * @param {Frame} frame
 * @param {number} level
 * @returns {Address[]}
 */
export function seen(frame, level) {
  const across = 2 ** level;
  const [left, bottom] = frame.back([0, frame.size.height]);
  const [right, top] = frame.back([frame.size.width, 0]);
  const from = (/** @type {number} */ at) => Math.max(0, Math.floor(((at + 1) / 2) * across));
  const to = (/** @type {number} */ at) => Math.min(across - 1, Math.floor(((at + 1) / 2) * across));
  const found = [];
  for (let row = from(bottom); row <= to(top); row += 1)
    for (let column = from(left); column <= to(right); column += 1) found.push({ level, column, row });
  return found;
}

/**
 * Where a tile is on the screen: its left upper corner and its side, in pixels.
 *
 * @param {Frame} frame
 * @param {Address} address
 */
export function boxOf(frame, { level, column, row }) {
  const side = 2 / 2 ** level;
  return { x: frame.x(-1 + column * side), y: frame.y(-1 + (row + 1) * side), side: side * frame.scale };
}

/**
 * What a coarser tile shows of a finer one's place: the coarser tile, and the square of its bins, rows from above.
 *
 * @param {Address} address
 * @param {number} coarser its level
 */
export function within({ level, column, row }, coarser) {
  const times = 2 ** (level - coarser);
  const bins = BINS / times;
  return {
    address: { level: coarser, column: Math.floor(column / times), row: Math.floor(row / times) },
    left: (column % times) * bins,
    top: BINS - ((row % times) + 1) * bins,
    bins,
  };
}

/**
 * The bin at a point.
 *
 * @param {Frame} frame
 * @param {Point} point in pixels
 * @param {number} level
 * @returns {{ address: Address, column: number, row: number } | null} null outside of the map
 */
export function binAt(frame, point, level) {
  const across = BINS * 2 ** level;
  const [x, y] = frame.back(point).map((at) => Math.floor(((at + 1) / 2) * across));
  if (x < 0 || y < 0 || x >= across || y >= across) return null;
  const [column, row] = [Math.floor(x / BINS), Math.floor(y / BINS)];
  return { address: { level, column, row }, column: x % BINS, row: y % BINS };
}

/**
 * What bins in a square around one have: images by class, the most first, and one of them.
 *
 * @param {Tile} tile
 * @param {{ column: number, row: number }} bin
 * @param {number} reach bins in each direction; the nearest ones that have images count
 * @param {Set<number> | null} classes that are counted, null for all
 * @returns {{ count: number, wrong: number, example: number, classes: [label: number, count: number][] } | null}
 */
export function about(tile, { column, row }, reach, classes) {
  let least = reach + 1;
  /** @type {number[]} */
  let found = [];
  for (let i = 0; i < tile.place.length; i += 1) {
    if (classes && !classes.has(tile.label[i])) continue;
    const away = Math.max(Math.abs((tile.place[i] % BINS) - column), Math.abs((tile.place[i] >> 8) - row));
    if (away > least) continue;
    if (away < least) [least, found] = [away, []];
    found.push(i);
  }
  if (least > reach || !found.length) return null;
  const bins = new Set(found.map((i) => tile.place[i]));
  const [only] = bins; // of several that are as near, the first
  found = found.filter((i) => tile.place[i] === only).sort((one, other) => tile.count[other] - tile.count[one]);
  const sum = (/** @type {Uint32Array} */ column_) => found.reduce((total, i) => total + column_[i], 0);
  return {
    count: sum(tile.count),
    wrong: sum(tile.wrong),
    example: tile.example[found[0]],
    classes: found.map((i) => /** @type {[number, number]} */ ([tile.label[i], tile.count[i]])),
  };
}

/**
 * What a tile looks like.
 *
 * @param {Tile} tile
 * @param {Look} look
 * @returns {Uint8ClampedArray<ArrayBuffer>} red, green, blue and opacity of 256 × 256 bins, rows from above
 */
export function pixels(tile, { by, colours, classes, most }) {
  const counts = new Float64Array(BINS * BINS);
  const largest = new Float64Array(BINS * BINS); // of a class in the bin
  const labels = new Uint16Array(BINS * BINS);
  const wrong = new Float64Array(BINS * BINS);
  for (let i = 0; i < tile.place.length; i += 1) {
    const label = tile.label[i];
    if (classes && !classes.has(label)) continue;
    const bin = tile.place[i];
    counts[bin] += tile.count[i];
    wrong[bin] += tile.wrong[i];
    if (tile.count[i] > largest[bin]) [largest[bin], labels[bin]] = [tile.count[i], label];
  }
  const painted = new Uint8ClampedArray(4 * BINS * BINS);
  const full = Math.log1p(Math.max(1, most));
  for (let bin = 0; bin < counts.length; bin += 1) {
    if (!counts[bin]) continue;
    const part = Math.min(1, Math.log1p(counts[bin]) / full);
    const at = 4 * ((BINS - 1 - (bin >> 8)) * BINS + (bin % BINS));
    painted.set(colourOf(by, colours, labels[bin], part, wrong[bin] / counts[bin]), at);
    painted[at + 3] = by === 'density' ? FULL : FAINT + (FULL - FAINT) * part;
  }
  return painted;
}

/**
 * @param {Look['by']} by
 * @param {Colour[]} colours
 * @param {number} label
 * @param {number} part how full the bin is, 0…1
 * @param {number} wrong 0…1
 * @returns {Colour}
 */
function colourOf(by, colours, label, part, wrong) {
  if (by === 'class') return colours[label] ?? [128, 128, 128];
  if (by === 'wrong') return mixed(colours[0], colours[1], Math.sqrt(wrong));
  return colours[Math.min(colours.length - 1, Math.floor(part * colours.length))];
}
