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
 * @param {Mask} mask
 * @param {number} i
 */
export const has = (mask, i) => ((mask[i >> 3] >> (i & 7)) & 1) === 1;

/**
 * @param {Mask} one
 * @param {Mask} other
 * @returns {Mask}
 */
export const and = (one, other) => one.map((byte, at) => byte & other[at]);

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
