// @ts-check
// Which images two models predict or group differently, as masks. No DOM.

import { has, indices, maskOf, size } from '../map/mask.js';

/** @typedef {import('../map/mask.js').Mask} Mask */
/** @typedef {Pick<import('../explore/columns.js').Layer, 'predicted' | 'nearest'>} Layer */
/** @typedef {[Layer, Layer]} Layers of the same images, by model A and by model B */

/**
 * A cell of the matrix of prototypes: training images of a class by their nearest prototypes.
 *
 * @typedef {object} Cell
 * @property {number} label
 * @property {[number | null, number | null]} prototypes of A and of B; null for those of other classes
 * @property {[number[], number[]]} ofClass the prototypes of the class, of A and of B
 */

/**
 * @param {Layers} layers
 * @returns {Mask} images with another predicted class
 */
export const otherClass = ([a, b]) => maskOf(a.predicted.length, (i) => a.predicted[i] !== b.predicted[i]);

/**
 * @param {Layers} layers
 * @param {number[]} match the prototype of B that each of A is matched with; -1 for none
 * @returns {Mask} images whose nearest prototypes are not matched
 */
export const otherPrototype = ([a, b], match) => maskOf(a.nearest.length, (i) => match[a.nearest[i]] !== b.nearest[i]);

/**
 * @param {Layers} layers
 * @param {Cell} cell
 * @param {{ labels: ArrayLike<number>, train: number, total: number }} cloud
 * @returns {Mask} the images of a cell
 */
export function ofCell(layers, { label, prototypes, ofClass }, { labels, train, total }) {
  const isNearest = layers.map(({ nearest }, model) => {
    const wanted = prototypes[model];
    const own = new Set(ofClass[model]);
    return (/** @type {number} */ i) => (wanted === null ? !own.has(nearest[i]) : nearest[i] === wanted);
  });
  return maskOf(total, (i) => i < train && labels[i] === label && isNearest.every((holds) => holds(i)));
}

/**
 * How many of some images change, in a sentence.
 *
 * @param {Mask} images
 * @param {Mask} classes images with another class
 * @param {Mask} prototypes images with another prototype
 */
export function summary(images, classes, prototypes) {
  const shared = (/** @type {Mask} */ mask) => size(images.map((byte, at) => byte & mask[at]));
  const number = (/** @type {number} */ count) => count.toLocaleString('en');
  const count = size(images);
  return (
    `${number(count)} image${count === 1 ? '' : 's'}: ${number(shared(classes))} with another class, ` +
    `${number(shared(prototypes))} with another prototype.`
  );
}

/**
 * The first images of a mask, those with another class first.
 *
 * @param {Mask} images
 * @param {Mask} classes
 * @param {number} most
 * @returns {number[]}
 */
export function shownFirst(images, classes, most) {
  const all = [...indices(images)];
  return [...all.filter((i) => has(classes, i)), ...all.filter((i) => !has(classes, i))].slice(0, most);
}
