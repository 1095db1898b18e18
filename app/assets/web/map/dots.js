// @ts-check
// What dots look like, what draws them, and the canvas that they are on.

import { whole } from './geometry.js';

/** @typedef {import('./data.js').Cloud} Cloud */
/** @typedef {import('./geometry.js').Frame} Frame */
/** @typedef {import('./mask.js').Mask} Mask */
/** @typedef {[red: number, green: number, blue: number]} Colour 0…255 */

/**
 * What dots look like.
 *
 * @typedef {object} Dots
 * @property {Colour[]} colours
 * @property {ArrayLike<number>} category an index into `colours` for each image
 * @property {Uint8Array} look of each image: HIDDEN, PALE or STRONG
 */

export const [HIDDEN, PALE, STRONG] = [0, 1, 2];
/**
 * @param {number} total the number of images
 * @param {Mask | null} shown the images that are not hidden, null for all
 * @param {Mask | null} selected the images that are not pale, null for all
 */
export function looks(total, shown, selected) {
  const look = new Uint8Array(total).fill(STRONG);
  if (!shown && !selected) return look;
  for (let i = 0; i < total; i += 1) {
    if (shown && !((shown[i >> 3] >> (i & 7)) & 1)) look[i] = HIDDEN;
    else if (selected && !((selected[i >> 3] >> (i & 7)) & 1)) look[i] = PALE;
  }
  return look;
}

export const PALENESS = 0.22; // of a strong dot's opacity

/**
 * How a frame is drawn.
 *
 * @typedef {object} Manner
 * @property {number} most dots that it has time for
 * @property {boolean} isMoving whether the next one will be another: then a sample is enough
 */

/**
 * @typedef {object} Scatter
 * @property {boolean} isSample whether it may draw a sample only
 * @property {(cloud: Cloud) => void} place takes the images' places
 * @property {(dots: Dots) => void} paint takes what they look like
 * @property {(frame: Frame, manner: Manner) => { drawn: number, isDone: boolean }} draw how many dots it has drawn now,
 *     and whether all are seen; if not, it is to be asked again
 * @property {() => void} destroy
 */

/**
 * @param {Cloud} cloud
 * @param {Frame} frame
 */
export const nearness = (cloud, { camera, size }) => whole(cloud, size).side / camera.side;

/**
 * Gives a canvas as many pixels as the screen has there.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Frame} frame
 * @returns {number} pixels of the screen for one of CSS
 */
export function fit(canvas, { size }) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  return ratio;
}
