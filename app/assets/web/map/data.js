// @ts-check
// What the map shows: positions, labels and predictions of images, the prototypes, and what is said of each. No DOM.

/**
 * What Python sends: addresses and choices.
 *
 * @typedef {object} MapData
 * @property {{ url: string, train: number, test: number }} cloud where the images' positions are, and how many
 * @property {{ url: string }} layer where the prototypes are
 * @property {string} pictures the address of the folder of pictures
 * @property {string[]} names of the classes
 * @property {string[]} colours of the classes
 * @property {'all' | 'wrong' | 'disagree'} show which images
 * @property {number[] | null} classes show only these; null for all
 * @property {boolean} test whether test images are shown
 * @property {string} selected the name of what is marked; "" for nothing
 * @property {string} place which map on which page this is
 * @property {string} view what is seen (see `viewText`); "" for all of it
 * @property {boolean} plain whether Python shows a plot instead
 * @property {string} instead where the same is for those who cannot see the map
 * @property {string} by who predicts
 * @property {boolean} beside whether a black box predicts, too
 */

/**
 * The images, training images first. Positions are scaled so that the whole map fits into −1…1.
 *
 * @typedef {object} Cloud
 * @property {string} url
 * @property {number} train the number of training images
 * @property {number} total the number of all images
 * @property {Float32Array} xs
 * @property {Float32Array} ys
 * @property {Uint16Array} labels
 * @property {Uint16Array} blackBox the class that the black box predicts
 * @property {Uint8Array} far 1 for images far from all others, whose position says little
 * @property {(value: number, axis: 0 | 1) => number} normal scales a position as the images' are
 * @property {[label: number, x: number, y: number][]} names where the name of each class is written
 */

/**
 * The prototypes, and the class that they predict for each image.
 *
 * @typedef {object} Layer
 * @property {number[]} x
 * @property {number[]} y
 * @property {number[]} class
 * @property {number[]} share of its class's training images, 0…1
 * @property {number[]} count the number of those images
 * @property {number[]} picture the training image that is shown for it; negative for none
 * @property {boolean[]} ghost
 * @property {boolean[]} far whether it is far from all images, so that its position says little
 * @property {Uint16Array} predicted
 */

const MANY = 5000; // images from which on dots are small and pale
const MARGIN = 1.05;

export const FAR = 'far from every image: its place says little';

/** @param {number} number */
export const count = (number) => number.toLocaleString('en');

/**
 * @param {{ url: string, train: number, test: number }} about
 * @param {ArrayBuffer} buffer float32 x and y of each image, uint16 labels, uint16 predictions, uint8 far
 * @returns {Cloud}
 */
export function readCloud({ url, train, test }, buffer) {
  const total = train + test;
  const places = new Float32Array(buffer, 0, 2 * total);
  const labels = new Uint16Array(buffer, 8 * total, total);
  const blackBox = new Uint16Array(buffer, 10 * total, total);
  const far = new Uint8Array(buffer, 12 * total, total);
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  for (let i = 0; i < 2 * total; i += 1) {
    low[i % 2] = Math.min(low[i % 2], places[i]);
    high[i % 2] = Math.max(high[i % 2], places[i]);
  }
  const half = (MARGIN / 2) * Math.max(high[0] - low[0], high[1] - low[1], 1e-6);
  const middle = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
  const normal = (/** @type {number} */ value, /** @type {0 | 1} */ axis) => (value - middle[axis]) / half;
  const xs = Float32Array.from({ length: total }, (_, i) => normal(places[2 * i], 0));
  const ys = Float32Array.from({ length: total }, (_, i) => normal(places[2 * i + 1], 1));
  return { url, train, total, xs, ys, labels, blackBox, far, normal, names: nameplaces(xs, ys, labels, train) };
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
  /** @type {Map<number, number[]>} */
  const members = new Map();
  for (let i = 0; i < train; i += 1) {
    const images = members.get(labels[i]);
    if (images) images.push(i);
    else members.set(labels[i], [i]);
  }
  const median = (/** @type {number[]} */ images, /** @type {Float32Array} */ axis) =>
    Float32Array.from(images, (i) => axis[i]).sort()[images.length >> 1];
  return [...members].map(([label, images]) => [label, median(images, xs), median(images, ys)]);
}

/**
 * @param {Omit<Layer, 'predicted'> & { predicted: string }} answer as the server sends it: predictions in base64
 * @returns {Layer}
 */
export function readLayer(answer) {
  const bytes = Uint8Array.from(atob(answer.predicted), (letter) => letter.charCodeAt(0));
  return { ...answer, predicted: new Uint16Array(bytes.buffer) };
}

/**
 * Whether a class is shown.
 *
 * @param {number[] | null} classes
 * @returns {(label: number) => boolean}
 */
export function classFilter(classes) {
  const wanted = classes && new Set(classes);
  return (label) => !wanted || wanted.has(label);
}

/**
 * Indices of the images to show, null for all.
 *
 * @param {Cloud} cloud
 * @param {Layer} layer
 * @param {Pick<MapData, 'show' | 'classes' | 'test'>} choices
 * @returns {number[] | null}
 */
export function visible(cloud, layer, { show, classes, test }) {
  if (show === 'all' && !classes && test) return null;
  const isWanted = classFilter(classes);
  const images = [];
  for (let i = 0; i < (test ? cloud.total : cloud.train); i += 1) {
    if (!isWanted(cloud.labels[i])) continue;
    if (show === 'wrong' && layer.predicted[i] === cloud.labels[i]) continue;
    if (show === 'disagree' && layer.predicted[i] === cloud.blackBox[i]) continue;
    images.push(i);
  }
  return images;
}

/**
 * Indices of the images to mark: those shown that are far from all others.
 *
 * @param {Cloud} cloud
 * @param {number[] | null} shown null for all
 */
export const farOf = (cloud, shown) =>
  shown ? shown.filter((i) => cloud.far[i]) : [...cloud.far.keys()].filter((i) => cloud.far[i]);

/**
 * What names the choice that `visible` makes: equal for equal images.
 *
 * @param {Pick<MapData, 'show' | 'classes' | 'test' | 'layer'>} choices
 */
export const filterKey = ({ show, classes, test, layer }) =>
  JSON.stringify([show, classes, test, show === 'all' ? '' : layer.url]);

/**
 * What Python calls an image.
 *
 * @param {Cloud} cloud
 * @param {number} i
 */
export const nameOf = (cloud, i) => (i < cloud.train ? `train-${i}` : `test-${i - cloud.train}`);

/**
 * What a name is of, null for what is not on the map.
 *
 * @param {Cloud} cloud
 * @param {Layer} layer
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
 * @param {Layer} layer
 * @param {MapData} data
 * @param {number} p
 * @returns {{ picture: string | null, lines: string[] }} its picture's address below the folder, without ".png"
 */
export function aboutPrototype(layer, data, p) {
  const standing = layer.ghost[p]
    ? 'a ghost: not the nearest prototype of any image'
    : `${Math.round(100 * layer.share[p])} % of its class, ${count(layer.count[p])} images`;
  return {
    picture: layer.picture[p] < 0 ? null : `train/${layer.picture[p]}`,
    lines: [`Prototype ${p} of ${data.names[layer.class[p]]}`, standing, ...(layer.far[p] ? [FAR] : [])],
  };
}

/**
 * What the tool tip says of an image.
 *
 * @param {Cloud} cloud
 * @param {Layer} layer
 * @param {MapData} data
 * @param {number} i
 * @returns {{ picture: string | null, lines: string[] }} its picture's address below the folder, without ".png"
 */
export function aboutImage(cloud, layer, data, i) {
  const test = i >= cloud.train;
  const index = test ? i - cloud.train : i;
  const label = cloud.labels[i];
  const verdict = (/** @type {number} */ given) => `${data.names[given]} ${given === label ? '✓' : '✗'}`;
  const own = `${data.by} predicts ${verdict(layer.predicted[i])}`;
  return {
    picture: `${test ? 'test' : 'train'}/${index}`,
    lines: [
      `${test ? 'Test' : 'Training'} image ${count(index)}: ${data.names[label]}`,
      data.beside ? `${own}, black box ${verdict(cloud.blackBox[i])}` : own,
      ...(cloud.far[i] ? [FAR] : []),
    ],
  };
}

/**
 * How dots are drawn, in CSS pixels: training images first, then test images.
 *
 * @param {number} total
 * @returns {{ pointSize: [number, number], opacity: number }}
 */
export const dots = (total) =>
  total > MANY ? { pointSize: [2.5, 5], opacity: 0.55 } : { pointSize: [6, 9], opacity: 0.8 };
