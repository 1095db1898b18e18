// @ts-check
// The density map: tiles below, prototypes over them. It moves like the map of Explore.

import { element, penOf } from '../dom.js';
import { Palette, parsed } from '../map/colour.js';
import { count } from '../map/data.js';
import {
  Frame,
  panned,
  placesOf,
  prototypePlace,
  prototypeTowards,
  prototypeUnder,
  whole,
  zoomed,
} from '../map/geometry.js';
import { Gestures } from '../map/gestures.js';
import { paint } from '../map/painting.js';
import { Tip } from '../map/tip.js';
import { TileStore, nameOf } from './store.js';
import { BINS, about, binAt, boxOf, levelFor, pixels, seen, within } from './tile.js';

/** @typedef {import('../map/geometry.js').Point} Point */
/** @typedef {import('../map/geometry.js').Camera} Camera */
/** @typedef {import('../map/data.js').Cloud} Cloud */
/** @typedef {import('../map/data.js').Prototypes} Prototypes */
/** @typedef {import('./tile.js').Address} Address */
/** @typedef {import('./tile.js').Look} Look */

/**
 * What there is of the map.
 *
 * @typedef {object} MapData
 * @property {string} tiles their address
 * @property {number} rows how many images it has
 * @property {number} finest level
 * @property {number[][]} present see `TileStore`
 * @property {number[]} most images in a bin, for each level
 * @property {[label: number, x: number, y: number][]} names where the classes' names are, in −1…1
 */

/**
 * What is shown on it.
 *
 * @typedef {object} Shown
 * @property {MapData} map
 * @property {string[]} names of the classes
 * @property {string[]} colours of the classes
 * @property {Prototypes} layer places in −1…1
 * @property {number} marked prototype, −1 for none
 * @property {Look['by']} by
 * @property {Set<number> | null} classes that are shown, null for all
 * @property {boolean} beside whether a black box predicts
 * @property {(image: number) => string | null} picture its address
 * @property {(p: number) => string[]} about a prototype, in words
 */

const ZOOM = 0.6;
const REACH = { mouse: 4, touch: 9 }; // pixels around a bin
const EDGE = 30;
const STEPS = ['--kx-step-1', '--kx-step-2', '--kx-step-3', '--kx-step-4', '--kx-step-5', '--kx-step-6'].map(
  (name) => `var(${name})`,
);
/** @type {Record<string, Point>} */
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class DensityMap {
  /**
   * @param {Element} parent
   * @param {(p: number) => void} pick is told of a click on a prototype, −1 beside them
   */
  constructor(parent, pick) {
    this.pick = pick;
    this.root = element('div', { class: 'kx-map kx-large-map', tabindex: '0', role: 'application' }, parent);
    this.canvas = element('canvas', { role: 'img' }, this.root);
    this.over = element('canvas', { class: 'kx-map-over', 'aria-hidden': 'true' }, this.root);
    this.live = element('div', { class: 'kx-map-live kx-unseen', 'aria-live': 'polite' }, this.root);
    this.note = element('div', { class: 'kx-map-note', role: 'status', hidden: '' }, this.root);
    this.palette = new Palette(this.root);
    this.tip = new Tip(this.root);
    this.buttons();
    this.frame = new Frame({ x: 0, y: 0, side: 2 }, { width: 1, height: 1 });
    this.fitted = true;
    /** @type {Shown | null} */
    this.shown = null;
    /** @type {TileStore | null} */
    this.store = null;
    /** @type {Map<string, HTMLCanvasElement>} */
    this.painted = new Map(); // tiles as they look, by name
    this.cursor = -1; // the prototype that the keyboard is on
    this.asked = 0; // for a frame
    this.gestures = new Gestures(this.root, {
      pan: (right, down) => this.look(panned(this.frame, right, down)),
      zoom: (factor, point) => this.look(zoomed(this.frame, factor, point)),
      point: (point) => this.point(point, REACH.mouse),
      leave: () => this.leave(),
      click: (point, isTouch) => this.click(point, isTouch),
      stroke: () => {},
      isLasso: () => false,
    });
    this.root.addEventListener('keydown', (event) => {
      if (event.target !== this.root || event.ctrlKey || event.metaKey || event.altKey) return;
      if (this.press(event.key)) event.preventDefault();
    });
    this.root.addEventListener('blur', () => this.put(-1));
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.root);
    this.dark = matchMedia('(prefers-color-scheme: dark)');
    this.recolour = () => this.refresh();
    this.dark.addEventListener('change', this.recolour);
  }

  buttons() {
    const box = element('div', { class: 'kx-map-buttons' }, this.root);
    for (const [text, name, act] of /** @type {[string, string, () => void][]} */ ([
      ['+', 'Zoom in', () => this.look(zoomed(this.frame, ZOOM))],
      ['−', 'Zoom out', () => this.look(zoomed(this.frame, 1 / ZOOM))],
      ['⤢', 'Show the whole map', () => this.showWhole()],
    ])) {
      const button = element('button', { type: 'button', text, title: name, 'aria-label': name }, box);
      button.addEventListener('click', act);
      button.addEventListener('pointerdown', (event) => event.stopPropagation());
    }
  }

  /** @param {Shown} shown */
  show(shown) {
    const before = this.shown;
    this.shown = shown;
    if (before?.map.tiles !== shown.map.tiles) {
      this.store?.destroy();
      this.store = new TileStore(shown.map.tiles, shown.map.present, (error) => this.come(error));
      this.painted.clear();
      this.fitted = true;
      this.resize();
    }
    if (before?.by !== shown.by || before.classes !== shown.classes) this.painted.clear();
    if (before?.layer !== shown.layer) this.cursor = -1;
    const words = `Density map of ${count(shown.map.rows)} images and ${count(shown.layer.x.length)} prototypes`;
    this.canvas.setAttribute('aria-label', `${words}. The prototypes are listed beside it.`);
    this.root.setAttribute('aria-label', `${words}. Arrow keys go from prototype to prototype, Enter marks one.`);
    this.refresh();
  }

  /** @param {string} error "" where a tile has come */
  come(error) {
    if (error) {
      this.note.textContent = error;
      this.note.hidden = false;
    }
    this.refresh();
  }

  /** @returns {import('../map/painting.js').Painting | null} */
  get scene() {
    if (!this.shown) return null;
    const { map, layer, names, marked, colours, classes } = this.shown;
    return {
      frame: this.frame,
      cloud: cloudOf(map),
      layer,
      places: placesOf(cloudOf(map), layer),
      classes,
      names,
      focus: null,
      marked: marked < 0 ? '' : `prototype-${marked}`,
      outline: [],
      stroke: [],
      splits: [],
      cursor: this.cursor,
      squares: Array.from(layer.class, (label) => colours[label]),
      far: [],
      picture: null,
    };
  }

  refresh() {
    this.asked ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.asked = 0;
    const { scene, shown, store } = this;
    if (!scene || !shown || !store || !this.root.isConnected) return;
    if (this.palette.isNew()) this.painted.clear();
    const level = levelFor(this.frame, shown.map.finest);
    const addresses = seen(this.frame, level);
    this.drawTiles(addresses);
    const [x, y] = [this.frame.size.width / 2, this.frame.size.height / 2];
    const away = (/** @type {Address} */ address) => {
      const box = boxOf(this.frame, address);
      return Math.hypot(box.x + box.side / 2 - x, box.y + box.side / 2 - y);
    };
    store.want([
      ...addresses.sort((one, other) => away(one) - away(other)),
      ...(level ? seen(this.frame, level - 1) : []), // what is seen after zooming out
    ]);
    const pen = penIn(this.over, this.frame);
    const style = ['--kx-ink', '--kx-page', '--kx-accent'].map((name) => this.palette.colour(`var(${name})`));
    paint(pen, scene, {
      ink: style[0],
      paper: style[1],
      accent: style[2],
      font: getComputedStyle(this.root).fontFamily,
    });
    this.root.dataset.level = String(level);
    this.root.setAttribute('aria-busy', String(store.coming.size > 0));
  }

  /** @param {Address[]} addresses */
  drawTiles(addresses) {
    const pen = penIn(this.canvas, this.frame);
    pen.imageSmoothingEnabled = false;
    for (const address of addresses) {
      if (!this.store?.has(address)) continue;
      const { x, y, side } = boxOf(this.frame, address);
      const own = this.pictureOf(address);
      if (own) pen.drawImage(own, x, y, side, side);
      for (let level = address.level - 1; !own && level >= 0; level -= 1) {
        const { address: above, left, top, bins } = within(address, level);
        const picture = bins >= 1 ? this.pictureOf(above) : null;
        if (!picture) continue;
        pen.drawImage(picture, left, top, bins, bins, x, y, side, side);
        break;
      }
    }
  }

  /**
   * @param {Address} address
   * @returns {HTMLCanvasElement | null} null while the tile is not here
   */
  pictureOf(address) {
    const tile = this.store?.get(address);
    if (!tile || !this.shown) return null;
    const name = nameOf(address);
    const known = this.painted.get(name);
    if (known) return known;
    const { by, classes, map, colours } = this.shown;
    const named = { class: colours, density: STEPS, wrong: ['var(--kx-plain)', 'var(--kx-wrong)'] }[by];
    const look = { by, classes, most: map.most[address.level], colours: named.map((text) => this.colour(text)) };
    const picture = element('canvas', { width: String(BINS), height: String(BINS) });
    penOf(picture).putImageData(new ImageData(pixels(tile, look), BINS, BINS), 0, 0);
    this.painted.set(name, picture);
    for (const old of [...this.painted.keys()].slice(0, -96)) this.painted.delete(old);
    return picture;
  }

  /** @param {string} text */
  colour(text) {
    return parsed(this.palette.colour(text));
  }

  /** @param {Camera} camera */
  look(camera) {
    this.fitted = false;
    this.frame = new Frame(camera, this.frame.size);
    this.tip.hide();
    this.refresh();
  }

  resize() {
    const { width, height } = this.root.getBoundingClientRect();
    if (!width || !height || !this.shown) return;
    const size = { width, height };
    this.frame = new Frame(this.fitted ? whole(cloudOf(this.shown.map), size) : this.frame.camera, size);
    this.refresh();
  }

  showWhole() {
    this.fitted = true;
    this.resize();
  }

  /**
   * Says what is at a point, in a tip.
   *
   * @param {Point} point
   * @param {number} reach in pixels
   */
  point(point, reach) {
    const { scene, shown } = this;
    if (!scene || !shown) return;
    const p = prototypeUnder(scene, point);
    this.root.classList.toggle('kx-map-hit', p >= 0);
    if (p >= 0) this.tell(p);
    else this.tellBin(point, reach);
  }

  /** @param {number} p */
  tell(p) {
    const { scene, shown } = this;
    if (!scene || !shown) return;
    const image = shown.layer.picture[p];
    this.tip.show(prototypePlace(scene, p), image < 0 ? null : shown.picture(image), shown.about(p));
  }

  /**
   * @param {Point} point
   * @param {number} reach in pixels
   */
  tellBin(point, reach) {
    const { shown, store } = this;
    const at = shown && binAt(this.frame, point, levelFor(this.frame, shown.map.finest));
    const tile = at && store?.get(at.address);
    if (!shown || !at || !tile) {
      this.tip.hide();
      return;
    }
    const bin = boxOf(this.frame, at.address).side / BINS;
    const found = about(tile, at, Math.ceil(reach / bin), shown.classes);
    if (!found) {
      this.tip.hide();
      return;
    }
    const lines = [`${count(found.count)} ${found.count === 1 ? 'image' : 'images'} here`];
    for (const [label, images] of found.classes.slice(0, 3)) lines.push(`${shown.names[label]}: ${count(images)}`);
    if (shown.beside) lines.push(`black box wrong: ${count(found.wrong)}`);
    this.tip.show(point, shown.picture(found.example), lines);
  }

  leave() {
    this.tip.hide();
    this.root.classList.remove('kx-map-hit');
  }

  /**
   * @param {Point} point
   * @param {boolean} isTouch
   */
  click(point, isTouch) {
    this.root.focus({ preventScroll: true });
    const { scene } = this;
    if (!scene) return;
    const p = prototypeUnder(scene, point);
    this.pick(p);
    if (p < 0 && isTouch) this.tellBin(point, REACH.touch);
  }

  /**
   * @param {string} key
   * @returns {boolean} whether it means something here
   */
  press(key) {
    if (DIRECTIONS[key]) this.go(DIRECTIONS[key]);
    else if (key === '+' || key === '=') this.look(zoomed(this.frame, ZOOM));
    else if (key === '-' || key === '−') this.look(zoomed(this.frame, 1 / ZOOM));
    else if (key === '0') this.showWhole();
    else if (key === 'Enter' && this.cursor >= 0) this.pick(this.cursor);
    else if (key === 'Escape' && (this.cursor >= 0 || (this.shown?.marked ?? -1) >= 0)) {
      if (this.cursor >= 0) this.put(-1);
      else this.pick(-1);
    } else return false;
    return true;
  }

  /** @param {Point} direction */
  go(direction) {
    const { scene, shown } = this;
    if (!scene || !shown) return;
    const { width, height } = this.frame.size;
    const from = this.cursor >= 0 ? this.cursor : shown.marked;
    const start = /** @type {Point} */ (
      from >= 0 ? prototypePlace(scene, from) : [(width / 2) * (1 - direction[0]), (height / 2) * (1 - direction[1])]
    );
    const next = prototypeTowards(scene, start, direction);
    if (next >= 0) this.put(next);
  }

  /** @param {number} p where the keyboard is, −1 for nowhere */
  put(p) {
    if (p === this.cursor) return;
    this.cursor = p;
    if (p < 0) this.tip.hide();
    else {
      this.reveal(p);
      this.tell(p);
      this.live.textContent = this.shown?.about(p).join(', ') ?? '';
    }
    this.refresh();
  }

  /** @param {number} p comes into sight */
  reveal(p) {
    const { scene } = this;
    if (!scene) return;
    const [x, y] = prototypePlace(scene, p);
    const { width, height } = this.frame.size;
    const out = (/** @type {number} */ at, /** @type {number} */ most) =>
      at < EDGE || at > most - EDGE ? most / 2 - at : 0;
    const [right, down] = [out(x, width), out(y, height)];
    if (right || down) this.look(panned(this.frame, right, down));
  }

  destroy() {
    cancelAnimationFrame(this.asked);
    this.store?.destroy();
    this.watcher.disconnect();
    this.dark.removeEventListener('change', this.recolour);
    this.root.remove();
  }
}

/**
 * What the geometry of Explore's map needs to know of this one, which has no dots.
 *
 * @param {MapData} map
 * @returns {Cloud}
 */
const cloudOf = ({ tiles, names }) => ({
  url: tiles,
  train: 0,
  total: 0,
  numbers: null,
  xs: new Float32Array(0),
  ys: new Float32Array(0),
  labels: new Uint16Array(0),
  blackBox: new Uint16Array(0),
  far: new Uint8Array(0),
  normal: (value) => value,
  names,
  reach: [1, 1],
});

/**
 * A clear canvas as large as the map, in CSS pixels.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Frame} frame
 */
function penIn(canvas, { size: { width, height } }) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
  const pen = penOf(canvas);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}
