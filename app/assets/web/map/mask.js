// @ts-check
// A set of images as bits: bit i is bit i & 7 of byte i >> 3. No DOM.

/** @typedef {Uint8Array} Mask */

/** @param {number} total the number of images */
export const emptyMask = (total) => new Uint8Array((total + 7) >> 3);

/**
 * @param {number} total
 * @param {(i: number) => boolean} holds
 * @returns {Mask} the images for which it holds
 */
export function maskOf(total, holds) {
  const mask = emptyMask(total);
  for (let i = 0; i < total; i += 1) if (holds(i)) mask[i >> 3] |= 1 << (i & 7);
  return mask;
}

/**
 * @param {number} total
 * @returns {Mask} all images
 */
export const every = (total) => not(emptyMask(total), total);

/**
 * @param {ArrayLike<number>} values of each image
 * @param {number} value
 * @returns {Mask} the images that have it
 */
export function having(values, value) {
  const mask = emptyMask(values.length);
  for (let i = 0; i < values.length; i += 1) if (values[i] === value) mask[i >> 3] |= 1 << (i & 7);
  return mask;
}

/**
 * @param {ArrayLike<number>} one
 * @param {ArrayLike<number>} other
 * @returns {Mask} the images for which both have the same value
 */
export function agreeing(one, other) {
  const mask = emptyMask(one.length);
  for (let i = 0; i < one.length; i += 1) if (one[i] === other[i]) mask[i >> 3] |= 1 << (i & 7);
  return mask;
}

/**
 * How many images have each value.
 *
 * @param {ArrayLike<number>} values of the images, whole numbers from 0 on
 * @param {number} total how many images count, from the first one on
 * @param {Mask | null} [mask] those that count, null for all
 * @returns {Uint32Array} by value, up to 65,535
 */
export function histogram(values, total, mask = null) {
  const counts = new Uint32Array(65536);
  if (!mask) {
    for (let i = 0; i < total; i += 1) counts[values[i]] += 1;
    return counts;
  }
  for (let at = 0; at < mask.length; at += 1) {
    if (!mask[at]) continue;
    const end = Math.min(total, 8 * at + 8);
    for (let i = 8 * at; i < end; i += 1) counts[values[i]] += (mask[at] >> (i & 7)) & 1;
  }
  return counts;
}

/**
 * @param {Mask} mask
 * @param {number} i
 */
export const has = (mask, i) => ((mask[i >> 3] >> (i & 7)) & 1) === 1;

/**
 * @param {Mask} one
 * @param {Mask} other
 * @returns {Mask}
 */
export function and(one, other) {
  const both = one.slice();
  for (let at = 0; at < both.length; at += 1) both[at] &= other[at];
  return both;
}

/**
 * @param {Mask} one
 * @param {Mask} other
 * @returns {Mask}
 */
export const or = (one, other) => one.map((byte, at) => byte | other[at]);

/**
 * @param {Mask} mask
 * @param {number} total the number of images: bits beyond them stay empty
 * @returns {Mask}
 */
export function not(mask, total) {
  const others = mask.map((byte) => ~byte);
  if (total & 7) others[others.length - 1] &= (1 << (total & 7)) - 1;
  return others;
}

const BITS = Uint8Array.from({ length: 256 }, (_, byte) => {
  let bits = 0;
  for (let rest = byte; rest; rest >>= 1) bits += rest & 1;
  return bits;
});

/**
 * The number of images.
 *
 * @param {Mask} mask
 */
export function size(mask) {
  let images = 0;
  for (let at = 0; at < mask.length; at += 1) images += BITS[mask[at]];
  return images;
}

/**
 * The images, in their order.
 *
 * @param {Mask} mask
 * @param {number} [most] stop after so many
 * @returns {number[]}
 */
export function indices(mask, most = Infinity) {
  const images = [];
  for (let at = 0; at < mask.length; at += 1) {
    if (!mask[at]) continue;
    for (let bit = 0; bit < 8 && images.length < most; bit += 1) if ((mask[at] >> bit) & 1) images.push(8 * at + bit);
  }
  return images;
}

/**
 * Whether two lists have the same values.
 *
 * @param {ArrayLike<unknown> | null} one
 * @param {ArrayLike<unknown> | null} other
 */
export function same(one, other) {
  if (one === other) return true;
  if (!one || !other || one.length !== other.length) return false;
  for (let at = 0; at < one.length; at += 1) if (one[at] !== other[at]) return false;
  return true;
}
