// @ts-check
// How a picture becomes the network's square, as kmex_core.data.framing does it. No DOM.

/**
 * @typedef {object} Framing
 * @property {'whole' | 'pad' | 'region'} crop
 * @property {number} turns quarter turns clockwise, 0…3
 * @property {boolean} inverted
 * @property {number} size side of the region as a share of the shorter side, SMALLEST…1
 * @property {number} across position of the region, 0 (left) … 1 (right)
 * @property {number} down position of the region, 0 (top) … 1 (bottom)
 */

export const SMALLEST = 0.05;

const thousandths = (/** @type {number} */ share) => Math.round(1000 * share);

/**
 * What names a framing in addresses, as `Framing.text` in Python.
 *
 * @param {Framing} framing
 */
export function framingText({ crop, turns, inverted, size, across, down }) {
  const region = `region-${[size, across, down].map(thousandths).join('-')}`;
  const parts = [
    turns % 4 ? `turn${(turns % 4) * 90}` : '',
    { whole: '', pad: 'pad', region }[crop],
    inverted ? 'invert' : '',
  ];
  return parts.filter(Boolean).join('_');
}

const between = (/** @type {number} */ low, /** @type {number} */ value, /** @type {number} */ high) =>
  Math.min(high, Math.max(low, value));

/**
 * The square region that a line across a picture spans: from its first corner, as far as the longer of its two sides,
 * and within the picture.
 *
 * @param {[x: number, y: number]} from in the picture's pixels, as are all lengths here
 * @param {[x: number, y: number]} to
 * @param {number} width
 * @param {number} height
 * @returns {Pick<Framing, 'size' | 'across' | 'down'>}
 */
export function drawnRegion(from, to, width, height) {
  const shorter = Math.min(width, height);
  const reach = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
  const side = between(SMALLEST * shorter, reach, shorter);
  const corner = (/** @type {0 | 1} */ axis, /** @type {number} */ length) =>
    between(0, to[axis] < from[axis] ? from[axis] - side : from[axis], length - side);
  return {
    size: side / shorter,
    across: width > side ? corner(0, width) / (width - side) : 0.5,
    down: height > side ? corner(1, height) / (height - side) : 0.5,
  };
}

/**
 * Where a region is on its picture, in pixels.
 *
 * @param {Pick<Framing, 'size' | 'across' | 'down'>} region
 * @param {number} width
 * @param {number} height
 */
export function regionBox({ size, across, down }, width, height) {
  const side = size * Math.min(width, height);
  return { left: across * (width - side), top: down * (height - side), side };
}
