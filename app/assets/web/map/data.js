// @ts-check
// What the map shows: positions, labels and predictions of images, the prototypes, and what is said of each. No DOM.

import { has, histogram } from './mask.js';

/**
 * The images, training images first. Positions are scaled so that the whole map fits into −1…1.
 *
 * @typedef {object} Cloud
 * @property {string} url
 * @property {number} train the number of training images
 * @property {number} total the number of all images
 * @property {number[] | null} numbers of the images in their splits, where some are left out
 * @property {Float32Array} xs
 * @property {Float32Array} ys
 * @property {Uint16Array} labels
 * @property {Uint16Array} blackBox the class that the black box predicts
 * @property {Uint8Array} far 1 for images far from all others, whose position says little
 * @property {(value: number, axis: 0 | 1) => number} normal scales a position as the images' are
 * @property {[label: number, x: number, y: number][]} names where the name of each class is written
 * @property {[x: number, y: number]} reach how far the images reach from the middle, 0…1
 */

/**
 * What the map shows of prototypes.
 *
 * @typedef {object} Prototypes
 * @property {ArrayLike<number>} x
 * @property {ArrayLike<number>} y
 * @property {ArrayLike<number>} class
 * @property {ArrayLike<number>} share of its class's training images, 0…1
 * @property {ArrayLike<number>} count the number of those images
 * @property {ArrayLike<number>} picture the training image that is shown for it; negative for none
 * @property {ArrayLike<boolean>} ghost
 * @property {ArrayLike<boolean>} far whether it is far from all images, so that its position says little
 * @property {ArrayLike<number>} predicted the class that they predict for each image
 */

/**
 * Whose images and prototypes these are.
 *
 * @typedef {object} About
 * @property {string[]} names of the classes
 * @property {string} by who predicts
 * @property {boolean} beside whether a black box predicts, too
 */

const MARGIN = 1.05;

export const FAR = 'far from every image: its place says little';

const written = new Intl.NumberFormat('en'); // made once: it takes longer than writing thousands of numbers

/** @param {number} number */
export const count = (number) => written.format(number);

/**
 * @param {{ url: string, train: number, test: number, numbers?: number[] | null }} about
 * @param {ArrayBuffer} buffer float32 x and y of each image, uint16 labels, uint16 predictions, uint8 far
 * @returns {Cloud}
 */
export function readCloud({ url, train, test, numbers = null }, buffer) {
  const total = train + test;
  const places = new Float32Array(buffer, 0, 2 * total);
  const labels = new Uint16Array(buffer, 8 * total, total);
  const blackBox = new Uint16Array(buffer, 10 * total, total);
  const far = new Uint8Array(buffer, 12 * total, total);
  const [low, high] = [
    [Infinity, Infinity],
    [-Infinity, -Infinity],
  ];
  for (let i = 0; i < 2 * total; i += 1) {
    const axis = i & 1;
    if (places[i] < low[axis]) low[axis] = places[i];
    if (places[i] > high[axis]) high[axis] = places[i];
  }
  const half = (MARGIN / 2) * Math.max(high[0] - low[0], high[1] - low[1], 1e-6);
  const middle = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
  const normal = (/** @type {number} */ value, /** @type {0 | 1} */ axis) => (value - middle[axis]) / half;
  const reach = /** @type {[number, number]} */ ([0, 1].map((axis) => (high[axis] - low[axis]) / 2 / half));
  const [xs, ys] = [new Float32Array(total), new Float32Array(total)];
  for (let i = 0; i < total; i += 1) {
    xs[i] = normal(places[2 * i], 0);
    ys[i] = normal(places[2 * i + 1], 1);
  }
  const names = nameplaces(xs, ys, labels, train);
  return { url, train, total, numbers, xs, ys, labels, blackBox, far, normal, names, reach };
}

/**
 * Where the name of each class is written: the median place of its training images.
 *
 * @param {Float32Array} xs
 * @param {Float32Array} ys
 * @param {Uint16Array} labels
 * @param {number} train
 * @returns {[label: number, x: number, y: number][]}
 */
export function nameplaces(xs, ys, labels, train) {
  const counts = histogram(labels, train);
  const next = new Uint32Array(counts.length); // where the next image of each class goes
  for (let label = 1, sum = 0; label < counts.length; label += 1) next[label] = sum += counts[label - 1];
  const [across, up] = [new Float32Array(train), new Float32Array(train)];
  const classes = new Set(); // as they occur
  for (let i = 0; i < train; i += 1) {
    const at = next[labels[i]]++;
    across[at] = xs[i];
    up[at] = ys[i];
    if (i === 0 || labels[i] !== labels[i - 1]) classes.add(labels[i]);
  }
  const median = (/** @type {Float32Array} */ values, /** @type {number} */ label) =>
    middle(values.subarray(next[label] - counts[label], next[label]));
  return [...classes].map((label) => [label, median(across, label), median(up, label)]);
}

/**
 * The value that half of the values are below, which it leaves in another order (Hoare's quickselect, 1961).
 *
 * @param {Float32Array} values at least one
 */
export function middle(values) {
  const wanted = values.length >> 1;
  let [first, last] = [0, values.length - 1];
  while (first < last) {
    const pivot = values[(first + last) >> 1];
    let [low, high] = [first, last];
    while (low <= high) {
      while (values[low] < pivot) low += 1;
      while (values[high] > pivot) high -= 1;
      if (low > high) break;
      const moved = values[low];
      values[low++] = values[high];
      values[high--] = moved;
    }
    if (wanted <= high) last = high;
    else if (wanted >= low) first = low;
    else break;
  }
  return values[wanted];
}

/**
 * Indices of the images to mark: those shown that are far from all others.
 *
 * @param {Cloud} cloud
 * @param {import('./mask.js').Mask | null} shown null for all
 */
export function farOf({ far }, shown) {
  const found = [];
  for (let i = far.indexOf(1); i >= 0; i = far.indexOf(1, i + 1)) if (!shown || has(shown, i)) found.push(i);
  return found;
}

/**
 * The number of an image in its split.
 *
 * @param {Cloud} cloud
 * @param {number} i
 */
export const numberIn = ({ numbers, train }, i) => numbers?.[i] ?? (i < train ? i : i - train);

/**
 * What Python calls an image, by its place among those of its split that are shown.
 *
 * @param {Cloud} cloud
 * @param {number} i
 */
export const nameOf = (cloud, i) => (i < cloud.train ? `train-${i}` : `test-${i - cloud.train}`);

/**
 * What a name is of, null for what is not on the map.
 *
 * @param {Cloud} cloud
 * @param {Prototypes} layer
 * @param {string} name
 * @returns {{ prototype: number } | { image: number } | null}
 */
export function namedBy(cloud, layer, name) {
  const [, kind, digits] = /^(train|test|prototype)-(\d+)$/.exec(name) ?? [];
  if (!kind) return null;
  const index = Number(digits);
  if (kind === 'prototype') return index < layer.x.length ? { prototype: index } : null;
  const image = kind === 'train' ? index : index + cloud.train;
  return image < (kind === 'train' ? cloud.train : cloud.total) ? { image } : null;
}

/**
 * What the tool tip says of a prototype.
 *
 * @param {Prototypes} layer
 * @param {About} about
 * @param {number} p
 * @returns {{ picture: string | null, lines: string[] }} its picture's address below the folder, without ".png"
 */
export function aboutPrototype(layer, { names }, p) {
  const standing = layer.ghost[p]
    ? 'a ghost: not the nearest prototype of any image'
    : `${Math.round(100 * layer.share[p])}% of its class, ${count(layer.count[p])} images`;
  let number = 1; // in its class
  for (let q = 0; q < p; q++) number += Number(layer.class[q] === layer.class[p]);
  return {
    picture: layer.picture[p] < 0 ? null : `train/${layer.picture[p]}`,
    lines: [`Prototype ${number} of ${names[layer.class[p]]}`, standing, ...(layer.far[p] ? [FAR] : [])],
  };
}

/**
 * What the tool tip says of an image.
 *
 * @param {Cloud} cloud
 * @param {Prototypes} layer
 * @param {About} about
 * @param {number} i
 * @returns {{ picture: string | null, lines: string[] }} its picture's address below the folder, without ".png"
 */
export function aboutImage(cloud, layer, { names, by, beside }, i) {
  const test = i >= cloud.train;
  const index = numberIn(cloud, i);
  const label = cloud.labels[i];
  const verdict = (/** @type {number} */ given) => `${names[given]} ${given === label ? '✓' : '✗'}`;
  const own = `${by} predicts ${verdict(layer.predicted[i])}`;
  return {
    picture: `${test ? 'test' : 'train'}/${index}`,
    lines: [
      `${test ? 'Test' : 'Training'} image ${count(index)}: ${names[label]}`,
      beside ? `${own}, black box ${verdict(cloud.blackBox[i])}` : own,
      ...(cloud.far[i] ? [FAR] : []),
    ],
  };
}

/**
 * How dots are drawn, in CSS pixels: many are small and pale, and all grow a little when one comes nearer.
 *
 * @param {number} total the number of images
 * @param {number} near how many times nearer than the whole map
 * @returns {{ train: number, test: number, opacity: number }} diameters, and how opaque a dot is
 */
export function dots(total, near) {
  const train = Math.min(9, Math.max(1.6, 6.5 * (1000 / total) ** 0.2) * Math.max(1, near) ** 0.3);
  return { train, test: 1.35 * train + 1, opacity: Math.min(0.85, Math.max(0.4, 0.85 * (1000 / total) ** 0.1)) };
}
