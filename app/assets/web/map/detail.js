// @ts-check
// How much of a large cloud is drawn in a frame: a fair sample while it moves, all of it at rest. No DOM.

/** @typedef {import('./geometry.js').Frame} Frame */

/**
 * A part of the map.
 *
 * @typedef {[left: number, low: number, right: number, high: number]} Area in the map's coordinates
 */

/**
 * Dots by their place in the drawing order, ascending: those of training images, then those of test images.
 *
 * @typedef {object} Chosen
 * @property {Uint32Array} places the first `count` of them count
 * @property {number} train how many are of training images
 * @property {number} count
 */

/**
 * Dots from a first one on.
 *
 * @typedef {{ first: number, count: number }} Range
 */

export const DIRECT = 100_000; // dots up to which a frame at rest draws all at once
const SLOW = 45; // milliseconds of a frame, from which on fewer dots are drawn
const FAST = 22;
const LEAST = 10_000; // dots of a frame
const MOST = 4_000_000;
const BLURRED = 2; // how much larger a picture is shown than it was drawn, at most
const TINY = 0.4; // and how much smaller

/** How many dots a frame may draw, from how long frames took. */
export class Pace {
  constructor() {
    this.dots = DIRECT;
  }

  /**
   * @param {number} took milliseconds from one frame to the next
   * @param {number} drawn the dots of the first
   */
  judge(took, drawn) {
    if (took > SLOW) this.dots = Math.max(LEAST, Math.round(0.6 * Math.min(drawn, this.dots)));
    else if (took < FAST && drawn >= this.dots) this.dots = Math.min(MOST, Math.round(1.1 * this.dots));
  }
}

/**
 * The dots to draw where not all can be: the first of both splits, the same share of each. The drawing order is
 * shuffled, so they are a fair sample.
 *
 * @param {{ train: number, count: number }} dots
 * @param {number} most
 * @returns {Range[]}
 */
export function sampled({ train, count }, most) {
  const share = Math.min(1, most / Math.max(1, count));
  return [
    { first: 0, count: Math.ceil(share * train) },
    { first: train, count: Math.ceil(share * (count - train)) },
  ];
}

/**
 * The dots that are shown in an area.
 *
 * @param {Float32Array} places x and y of each dot, in the drawing order
 * @param {Uint8Array} looks 0 for a dot that is hidden, in the drawing order
 * @param {number} train the number of training images
 * @param {Area} area
 * @param {Uint32Array} found takes their places
 * @returns {Chosen}
 */
export function dotsIn(places, looks, train, area, found) {
  const [left, low, right, high] = area;
  let count = 0;
  let ofTrain = 0;
  for (let at = 0; at < looks.length; at += 1) {
    if (at === train) ofTrain = count;
    if (!looks[at]) continue;
    const x = places[2 * at];
    if (x < left || x > right) continue;
    const y = places[2 * at + 1];
    if (y < low || y > high) continue;
    found[count] = at;
    count += 1;
  }
  return { places: found, train: train < looks.length ? ofTrain : count, count };
}

/**
 * What a frame shows.
 *
 * @param {Frame} frame
 * @param {number} [margin] pixels around it
 * @returns {Area}
 */
export function areaOf(frame, margin = 0) {
  const { width, height } = frame.size;
  const [left, low] = frame.back([-margin, height + margin]);
  const [right, high] = frame.back([width + margin, -margin]);
  return [left, low, right, high];
}

/**
 * What of an area is on the map.
 *
 * @param {Area} area
 * @returns {Area}
 */
export const clipped = (area) => /** @type {Area} */ (area.map((end) => Math.min(1, Math.max(-1, end))));

/** @param {Area} area */
export const surface = ([left, low, right, high]) => (right - left) * (high - low);

/**
 * Whether one area has all of another.
 *
 * @param {Area} outer
 * @param {Area} inner
 */
export const contains = (outer, inner) =>
  outer[0] <= inner[0] && outer[1] <= inner[1] && outer[2] >= inner[2] && outer[3] >= inner[3];

/**
 * Whether a picture drawn for one frame can stand for a part of another while the map moves.
 *
 * @param {Frame} drawn
 * @param {Frame} frame
 */
export function isUsable(drawn, frame) {
  if (drawn.size.width !== frame.size.width || drawn.size.height !== frame.size.height) return false;
  const ratio = frame.scale / drawn.scale;
  if (ratio > BLURRED || ratio < TINY) return false;
  const [one, other] = [areaOf(drawn), areaOf(frame)];
  return one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3];
}

/**
 * Whether two frames show the same.
 *
 * @param {Frame} one
 * @param {Frame} other
 */
export const isSameFrame = (one, other) =>
  one.camera.x === other.camera.x &&
  one.camera.y === other.camera.y &&
  one.scale === other.scale &&
  one.size.width === other.size.width &&
  one.size.height === other.size.height;
