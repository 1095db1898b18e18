// @ts-check
// Where things are on the screen, in CSS pixels from the map's corner, and which of them is under the pointer. No DOM.

import { classFilter, namedBy } from './data.js';

/** @typedef {import('./data.js').Cloud} Cloud */
/** @typedef {import('./data.js').Layer} Layer */
/** @typedef {import('./data.js').MapData} MapData */

/**
 * What regl-scatterplot needs of a d3 scale: it keeps them in step with the camera.
 *
 * @typedef {object} Methods
 * @property {{ (): number[], (given: number[]): Scale }} domain
 * @property {{ (): number[], (given: number[]): Scale }} range
 *
 * @typedef {((value: number) => number) & Methods} Scale
 */

/**
 * What is on the screen: what is shown, and the scales that place it.
 *
 * @typedef {object} Scene
 * @property {Scale} x
 * @property {Scale} y
 * @property {Cloud} cloud
 * @property {Layer} layer
 * @property {number[]} far the images to mark as far from all others
 * @property {MapData} data
 */

/** @typedef {{ x: number, y: number, width: number, height: number }} Area in the map's coordinates */
/** @typedef {[x: number, y: number]} Point */

/** The whole map. @type {Area} */
export const WHOLE = { x: -1, y: -1, width: 2, height: 2 };

const FULL_SIZE = 150; // prototypes up to which they are drawn in full size
const DOT_REACH = 12;
const NEAREST = 1e-4; // the smallest side that a link names

/** @returns {Scale} */
export function linear() {
  let domain = [-1, 1];
  let range = [0, 1];
  const scale = (/** @type {number} */ value) =>
    range[0] + ((value - domain[0]) / (domain[1] - domain[0])) * (range[1] - range[0]);
  const methods = {
    domain: (/** @type {number[]=} */ given) => (given ? ((domain = given), whole) : domain),
    range: (/** @type {number[]=} */ given) => (given ? ((range = given), whole) : range),
  };
  const whole = /** @type {Scale} */ (/** @type {unknown} */ (Object.assign(scale, methods)));
  return whole;
}

/**
 * How large prototypes are drawn, 0.4…1: many are drawn smaller, so that they do not hide the map.
 *
 * @param {number} prototypes how many there are
 */
export const sizeFor = (prototypes) => Math.min(1, Math.max(0.4, Math.sqrt(FULL_SIZE / prototypes)));

/**
 * The side of a prototype's square, and half the diagonal of a ghost's diamond.
 *
 * @param {Layer} layer
 * @param {number} p
 */
export const sideOf = (layer, p) => (5 + 12 * Math.sqrt(layer.share[p])) * sizeFor(layer.x.length);

/**
 * @param {Scene} scene
 * @param {number} p
 * @returns {Point}
 */
export const prototypePlace = ({ x, y, cloud, layer }, p) => [
  x(cloud.normal(layer.x[p], 0)),
  y(cloud.normal(layer.y[p], 1)),
];

/**
 * @param {Scene} scene
 * @param {number} i
 * @returns {Point}
 */
export const imagePlace = ({ x, y, cloud }, i) => [x(cloud.xs[i]), y(cloud.ys[i])];

/**
 * Where what has a name is, and the radius of a ring around it; null for what is not on the map.
 *
 * @param {Scene} scene
 * @param {string} name
 * @returns {{ place: Point, radius: number } | null}
 */
export function ringOf(scene, name) {
  const named = namedBy(scene.cloud, scene.layer, name);
  if (!named) return null;
  if ('image' in named) return { place: imagePlace(scene, named.image), radius: 9 };
  return { place: prototypePlace(scene, named.prototype), radius: sideOf(scene.layer, named.prototype) + 4 };
}

/**
 * The uppermost prototype at a point, -1 for none.
 *
 * @param {Scene} scene
 * @param {Point} point
 */
export function prototypeUnder(scene, [x, y]) {
  const { layer } = scene;
  const isWanted = classFilter(scene.data.classes);
  return layer.x.findIndex((_, p) => {
    if (!isWanted(layer.class[p])) return false;
    const [px, py] = prototypePlace(scene, p);
    const reach = (layer.ghost[p] ? 1 : 0.5) * sideOf(layer, p) + 2;
    return Math.abs(px - x) <= reach && Math.abs(py - y) <= reach;
  });
}

/**
 * Whether a point is on an image's dot.
 *
 * @param {Scene} scene
 * @param {number} i
 * @param {Point} point
 */
export function isOnDot(scene, i, [x, y]) {
  const [px, py] = imagePlace(scene, i);
  return Math.hypot(px - x, py - y) < DOT_REACH;
}

/**
 * The corner of the tool tip: beside what it is about, within the map.
 *
 * @param {Point} place
 * @param {{ width: number, height: number }} tip
 * @param {{ width: number, height: number }} map
 * @returns {Point}
 */
export function tipCorner([x, y], tip, map) {
  const left = x + 16 + tip.width > map.width ? x - tip.width - 16 : x + 16;
  const top = Math.min(Math.max(4, y - tip.height / 2), Math.max(4, map.height - tip.height - 4));
  return [Math.max(4, left), top];
}

/**
 * What is seen, for the link: its middle and its smaller side, where the whole map is 2 wide.
 *
 * @param {number[]} xs from left to right
 * @param {number[]} ys
 */
export function viewText([x0, x1], [y0, y1]) {
  const side = Math.max(NEAREST, Math.min(x1 - x0, y1 - y0));
  return [(x0 + x1) / 2, (y0 + y1) / 2, side].map((number) => number.toFixed(4)).join('_');
}

/**
 * The area that a link names; Python has checked it.
 *
 * @param {string} text as `viewText` writes it
 * @returns {Area}
 */
export function viewArea(text) {
  const [x, y, side] = text.split('_').map(Number);
  return { x: x - side / 2, y: y - side / 2, width: side, height: side };
}

/**
 * The area that is seen after zooming around the middle.
 *
 * @param {number[]} xs from left to right
 * @param {number[]} ys
 * @param {number} factor above 1 zooms out
 * @returns {Area}
 */
export function zoomed([x0, x1], [y0, y1], factor) {
  const [width, height] = [(x1 - x0) * factor, (y1 - y0) * factor];
  return { x: (x0 + x1 - width) / 2, y: (y0 + y1 - height) / 2, width, height };
}
