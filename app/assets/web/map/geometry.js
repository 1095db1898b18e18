// @ts-check
// Where things are on the screen, in CSS pixels from the map's corner, and which of them is under the pointer. No DOM.

import { namedBy } from './data.js';

/** @typedef {import('./data.js').Cloud} Cloud */
/** @typedef {import('./data.js').Prototypes} Prototypes */
/** @typedef {[x: number, y: number]} Point */
/** @typedef {{ width: number, height: number }} Size */
/** @typedef {{ left: number, top: number, right: number, bottom: number }} Box */

/**
 * What is seen: its middle and its smaller side, in the map's coordinates.
 *
 * @typedef {{ x: number, y: number, side: number }} Camera
 */

/**
 * What is on the screen and where.
 *
 * @typedef {object} Scene
 * @property {Frame} frame
 * @property {Cloud} cloud
 * @property {Prototypes} layer
 * @property {Point[]} places where the prototypes are drawn, in the map's coordinates; they move at a step
 * @property {Set<number> | null} classes whose prototypes and names are shown, null for all
 */

const FULL_SIZE = 150; // prototypes up to which they are drawn in full size
const FULL_WINDOW = 560; // pixels of a window's smaller side from which on prototypes are drawn in full size
const NEAREST = 1e-4; // the smallest side that is seen, and that a link names
const FARTHEST = 6;
const SPOT = 4; // pixels within which crosses cover each other
const AROUND = 1.06; // of the images, when all are seen

/** A camera in a window. */
export class Frame {
  /**
   * @param {Camera} camera
   * @param {Size} size
   */
  constructor(camera, size) {
    this.camera = camera;
    this.size = size;
    this.scale = Math.max(1, Math.min(size.width, size.height)) / camera.side; // pixels
  }

  /** @param {number} x */
  x(x) {
    return this.size.width / 2 + (x - this.camera.x) * this.scale;
  }

  /** @param {number} y */
  y(y) {
    return this.size.height / 2 - (y - this.camera.y) * this.scale;
  }

  /**
   * @param {Point} point in pixels
   * @returns {Point} in the map's coordinates
   */
  back([left, top]) {
    const { x, y } = this.camera;
    return [x + (left - this.size.width / 2) / this.scale, y - (top - this.size.height / 2) / this.scale];
  }

  /** The width of what is seen, in the map's coordinates. */
  get span() {
    return this.size.width / this.scale;
  }
}

/**
 * The camera that sees all images, in a window of any shape.
 *
 * @param {Cloud} cloud
 * @param {Size} size
 * @param {{ right: number, bottom: number }} [covered] pixels at its edges that something covers
 * @returns {Camera}
 */
export function whole({ reach }, { width, height }, { right, bottom } = { right: 0, bottom: 0 }) {
  const perPixel =
    AROUND * 2 * Math.max(reach[0] / Math.max(1, width - right), reach[1] / Math.max(1, height - bottom));
  const side = Math.max(NEAREST, perPixel * Math.max(1, Math.min(width, height)));
  return { x: (perPixel * right) / 2, y: (-perPixel * bottom) / 2, side };
}

/**
 * The camera after zooming: what is at a point stays there.
 *
 * @param {Frame} frame
 * @param {number} factor above 1 zooms out
 * @param {Point} [point] the middle if it is left out
 * @returns {Camera}
 */
export function zoomed(frame, factor, point = [frame.size.width / 2, frame.size.height / 2]) {
  const { camera } = frame;
  const side = Math.min(FARTHEST, Math.max(NEAREST, camera.side * factor));
  const [x, y] = frame.back(point);
  const ratio = side / camera.side;
  return { x: x + (camera.x - x) * ratio, y: y + (camera.y - y) * ratio, side };
}

/**
 * The camera after dragging; some of the map stays in sight.
 *
 * @param {Frame} frame
 * @param {number} right in pixels
 * @param {number} down
 * @returns {Camera}
 */
export function panned({ camera, scale }, right, down) {
  const within = (/** @type {number} */ value) => Math.min(1, Math.max(-1, value));
  return { x: within(camera.x - right / scale), y: within(camera.y + down / scale), side: camera.side };
}

/**
 * How large prototypes are drawn, 0.4…1: many are drawn smaller, so that they do not hide the map.
 *
 * @param {number} prototypes how many there are
 */
export const sizeFor = (prototypes) => Math.min(1, Math.max(0.4, Math.sqrt(FULL_SIZE / prototypes)));

/**
 * How large everything is drawn: in a small window smaller.
 *
 * @param {Scene} scene
 */
export const sizeIn = ({ frame, layer }) =>
  sizeFor(layer.x.length) * Math.min(1, Math.max(0.6, Math.min(frame.size.width, frame.size.height) / FULL_WINDOW));

/**
 * The side of a prototype's square, and half the diagonal of a ghost's diamond.
 *
 * @param {Scene} scene
 * @param {number} p
 */
export const sideOf = (scene, p) => (6 + 18 * Math.sqrt(scene.layer.share[p])) * sizeIn(scene);

/**
 * How far a prototype reaches from its place.
 *
 * @param {Scene} scene
 * @param {number} p
 */
export const reachOf = (scene, p) => (scene.layer.ghost[p] ? 1 : 0.5) * sideOf(scene, p);

/**
 * Where the prototypes of a layer are, in the map's coordinates.
 *
 * @param {Cloud} cloud
 * @param {Prototypes} layer
 * @returns {Point[]}
 */
export const placesOf = (cloud, layer) =>
  Array.from(layer.x, (x, p) => [cloud.normal(x, 0), cloud.normal(layer.y[p], 1)]);

/**
 * @param {Scene} scene
 * @param {number} p
 * @returns {Point}
 */
export const prototypePlace = ({ frame, places }, p) => [frame.x(places[p][0]), frame.y(places[p][1])];

/**
 * @param {Scene} scene
 * @param {number} i
 * @returns {Point}
 */
export const imagePlace = ({ frame, cloud }, i) => [frame.x(cloud.xs[i]), frame.y(cloud.ys[i])];

/**
 * The places in a window, where several are as good as at the same the first of them.
 *
 * @param {Point[]} places in pixels
 * @param {Size} size of the window
 * @returns {Point[]}
 */
export function apart(places, { width, height }) {
  const columns = Math.ceil(width / SPOT) + 1;
  const taken = new Uint8Array(columns * (Math.ceil(height / SPOT) + 1));
  return places.filter(([x, y]) => {
    if (x < 0 || y < 0 || x > width || y > height) return false;
    const at = Math.floor(y / SPOT) * columns + Math.floor(x / SPOT);
    if (taken[at]) return false;
    taken[at] = 1;
    return true;
  });
}

/**
 * Whether a prototype is shown.
 *
 * @param {Scene} scene
 * @param {number} p
 */
export const isShown = ({ layer, classes }, p) => !classes || classes.has(layer.class[p]);

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
  return { place: prototypePlace(scene, named.prototype), radius: sideOf(scene, named.prototype) + 4 };
}

/**
 * The uppermost prototype at a point, -1 for none.
 *
 * @param {Scene} scene
 * @param {Point} point
 */
export function prototypeUnder(scene, [x, y]) {
  return scene.places.findIndex((_, p) => {
    if (!isShown(scene, p)) return false;
    const [px, py] = prototypePlace(scene, p);
    const reach = reachOf(scene, p) + 2;
    return Math.abs(px - x) <= reach && Math.abs(py - y) <= reach;
  });
}

/**
 * The next prototype from a point in a direction: near, and rather straight ahead than aside; -1 for none.
 *
 * @param {Scene} scene
 * @param {Point} from in pixels
 * @param {Point} direction one step, such as [1, 0]
 */
export function prototypeTowards(scene, from, direction) {
  let found = -1;
  let least = Infinity;
  for (let p = 0; p < scene.places.length; p += 1) {
    if (!isShown(scene, p)) continue;
    const [x, y] = prototypePlace(scene, p);
    const ahead = (x - from[0]) * direction[0] + (y - from[1]) * direction[1];
    const aside = Math.abs((x - from[0]) * direction[1] - (y - from[1]) * direction[0]);
    if (ahead <= 0.5 || aside > 2 * ahead || ahead + 2 * aside >= least) continue;
    [found, least] = [p, ahead + 2 * aside];
  }
  return found;
}

/**
 * The corner of the tool tip: beside what it is about, within the map.
 *
 * @param {Point} place
 * @param {Size} tip
 * @param {Size} map
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
 * @param {Camera} camera
 */
export const viewText = ({ x, y, side }) =>
  [x, y, Math.max(NEAREST, side)].map((number) => number.toFixed(4)).join('_');

/**
 * What a link names; Python has checked it.
 *
 * @param {string} text as `viewText` writes it
 * @returns {Camera}
 */
export function viewCamera(text) {
  const [x, y, side] = text.split('_').map(Number);
  return { x, y, side };
}
