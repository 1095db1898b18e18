// @ts-check
// The map: a cloud of dots that stays, and a canvas over it for the prototypes, which change. What it shows is given by
// `show`, what people do on it is told by hooks; it fetches nothing but pictures.

import { element } from '../dom.js';
import { count, farOf, nameOf } from './data.js';
import {
  imagePlace,
  isShown,
  panned,
  placesOf,
  prototypePlace,
  prototypeUnder,
  ringOf,
  viewCamera,
  viewText,
  whole,
  zoomed,
} from './geometry.js';
import { Gestures } from './gestures.js';
import { Keyboard } from './keyboard.js';
import { outlineOf, simplified } from './lasso.js';
import { same, size } from './mask.js';
import { Nearest } from './order.js';
import { SAMPLE } from './scatter.js';
import { Surface } from './surface.js';
import { Tip } from './tip.js';

/** @typedef {import('./data.js').Cloud} Cloud */
/** @typedef {import('./data.js').Prototypes} Prototypes */
/** @typedef {import('./geometry.js').Point} Point */
/** @typedef {import('./mask.js').Mask} Mask */
/** @typedef {import('./painting.js').Painting} Painting */
/** @typedef {{ prototype: number } | { image: number }} Thing what can be under the pointer */

/**
 * What the map shows. Things that are the same objects as before cost nothing.
 *
 * @typedef {object} Shown
 * @property {Cloud} cloud
 * @property {Prototypes} layer
 * @property {string[]} names of the classes
 * @property {{ colours: string[], category: ArrayLike<number>, squares: string[] }} paint colours, which of them each
 *     image has, and the colour of each prototype
 * @property {Mask | null} shown the images that are drawn, null for all
 * @property {Mask | null} selected the images that are not pale, null for all
 * @property {Set<number> | null} classes whose prototypes and names are shown, null for all
 * @property {Set<number> | null} focus the prototypes that are not pale, null for all
 * @property {string} marked the name of what is ringed
 * @property {Point[]} outline of the selection; empty for none
 * @property {{ place: Point, url: string, lines: number[] } | null} picture that was brought here, in the map's
 *     coordinates, and its nearest prototypes
 * @property {string} view what is seen (see `viewText`); "" for all of it
 * @property {string} instead where the same is for those who cannot see the map
 * @property {(thing: Thing) => { picture: string | null, lines: string[] }} about what the tool tip says
 * @property {Point[] | null} from where the prototypes glide from
 * @property {[child: number, from: Point][]} splits the prototypes that the last step split
 */

/**
 * @typedef {object} Hooks
 * @property {(name: string) => void} pick a click on an image or a prototype; "" beside them
 * @property {(text: string) => void} view what is seen, once that rests
 * @property {(corners: Point[]) => void} [lasso] images were outlined, in the map's coordinates
 * @property {(name: string | null) => void} [hover]
 */

const ZOOM = 0.6; // of what is seen, at a press of a button
const REST = 400; // milliseconds after which a map is at rest
const REACH = { mouse: 10, touch: 18 }; // pixels
const SPLIT = 1500; // milliseconds for which one sees what a step split

/** @type {WeakMap<Element, EmbeddingMap>} */
const maps = new WeakMap();

/**
 * Where something is in the window, null for what is not on the map; for tests.
 *
 * @param {Element} root of a map
 * @param {string} name
 */
export function placeIn(root, name) {
  const map = maps.get(root);
  const place = map?.placeOf(name);
  const box = map?.canvas.getBoundingClientRect();
  return place && box ? [box.left + place[0], box.top + place[1]] : null;
}

export class EmbeddingMap {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    this.root = element('div', { class: 'kx-map', tabindex: '0', role: 'application' }, parent);
    this.canvas = element('canvas', { role: 'img', 'aria-label': 'The embedding map is loading' }, this.root);
    this.over = element('canvas', { class: 'kx-map-over', 'aria-hidden': 'true' }, this.root);
    this.tip = new Tip(this.root);
    this.status = element(
      'div',
      { class: 'kx-map-status', role: 'status', text: 'Loading the embedding map …' },
      this.root,
    );
    this.live = element('div', { class: 'kx-map-live kx-unseen', 'aria-live': 'polite' }, this.root);
    this.note = element('div', { class: 'kx-map-note', hidden: '' }, this.root);
    this.addButtons();
    this.surface = new Surface(this.root, this.canvas, this.over, () => this.drawn());
    this.note.textContent = `This browser has no WebGL: the map draws a sample of ${count(SAMPLE)} images at most.`;
    this.note.hidden = !this.surface.scatter.isSample;
    /** @type {Shown | null} */
    this.shown = null;
    /** @type {Nearest | null} */
    this.nearest = null;
    this.fitted = true; // whether all of the map is seen, whatever the window's shape
    /** @type {string | null} */
    this.given = null; // the view that was given last
    /** @type {string[]} */
    this.told = []; // the views that were told since
    this.covered = { right: 0, bottom: 0 }; // pixels
    this.isLasso = false;
    this.timers = { rest: 0, split: 0 };
    /** @type {Thing | null} */
    this.hovered = null;
    /** @type {Point | null} */
    this.pointer = null;
    this.listen();
    maps.set(this.root, this);
  }

  addButtons() {
    const buttons = element('div', { class: 'kx-map-buttons' }, this.root);
    const add = (/** @type {string} */ text, /** @type {string} */ title, /** @type {() => void} */ act) =>
      element('button', { type: 'button', title, 'aria-label': title, text }, buttons).addEventListener('click', act);
    add('+', 'Zoom in', () => this.zoom(ZOOM));
    add('−', 'Zoom out', () => this.zoom(1 / ZOOM));
    add('⤢', 'Show the whole map', () => this.showWhole());
  }

  listen() {
    this.gestures = new Gestures(this.canvas, {
      pan: (right, down) => this.look(panned(this.frame, right, down)),
      zoom: (factor, point) => this.look(zoomed(this.frame, factor, point)),
      point: (point) => this.move(point),
      leave: () => this.move(null),
      click: (point, isTouch) => this.click(point, isTouch),
      stroke: (stroke, isDone) => this.stroke(stroke, isDone),
      isLasso: () => this.isLasso,
    });
    this.keyboard = new Keyboard(this);
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.root);
  }

  get frame() {
    return this.surface.frame;
  }

  get scene() {
    return this.surface.scene;
  }

  /** @param {Shown} shown */
  show(shown) {
    const before = this.shown;
    this.shown = shown;
    if (before?.cloud !== shown.cloud) {
      this.surface.scatter.place(shown.cloud);
      this.nearest = new Nearest(shown.cloud);
      this.given = null;
    }
    if (before?.layer !== shown.layer) this.step(shown);
    this.arrive(shown.view);
    this.surface.scene = this.sceneOf(shown, before);
    if (!before || !sameDots(before, shown)) this.surface.paintDots(shown);
    this.surface.refresh(false);
    this.describe(shown);
    this.status.hidden = true;
  }

  /**
   * New prototypes: they glide to their places, and one sees for a while which the step has split.
   *
   * @param {Shown} shown
   */
  step({ from, splits }) {
    this.keyboard?.drop();
    this.surface.move();
    this.surface.glideFrom(from);
    clearTimeout(this.timers.split);
    if (splits.length) this.timers.split = window.setTimeout(() => this.forgetSplits(), SPLIT);
  }

  forgetSplits() {
    if (this.scene) this.scene.splits = [];
    this.surface.refresh(false);
  }

  /**
   * @param {Shown} shown
   * @param {Shown | null} before
   * @returns {Painting}
   */
  sceneOf(shown, before) {
    const { cloud, layer, classes, names, focus, marked, outline, paint } = shown;
    const isSame = before?.cloud === cloud && before.layer === layer && this.scene !== null;
    const isSameCloud = before?.cloud === cloud && same(before.shown, shown.shown);
    return {
      frame: this.frame,
      cloud,
      layer,
      places: isSame && this.scene ? this.scene.places : placesOf(cloud, layer),
      classes,
      names,
      focus,
      marked,
      outline,
      stroke: this.scene?.stroke ?? [],
      splits: isSame && this.scene ? this.scene.splits : shown.splits,
      cursor: this.keyboard?.cursor ?? -1,
      squares: paint.squares,
      far: isSameCloud && this.scene ? this.scene.far : farOf(cloud, shown.shown),
      picture: this.pictureOf(shown, before),
    };
  }

  /**
   * @param {Shown} shown
   * @param {Shown | null} before
   * @returns {import('./painting.js').Picture | null}
   */
  pictureOf({ picture }, before) {
    if (!picture) return null;
    const { place, lines, url } = picture;
    if (before?.picture?.url === url && this.scene?.picture) return { place, lines, image: this.scene.picture.image };
    const image = new Image();
    image.addEventListener('load', () => this.surface.refresh(false));
    image.src = url;
    return { place, lines, image };
  }

  /**
   * Says in words what is shown.
   *
   * @param {Shown} shown
   */
  describe({ cloud, layer, shown, instead }) {
    const images = count(shown ? size(shown) : cloud.total);
    const about = `Embedding map of ${images} images and ${count(layer.x.length)} prototypes`;
    this.canvas.setAttribute('aria-label', `${about}. ${instead}`);
    this.root.setAttribute('aria-label', `${about}. Arrow keys go from prototype to prototype, Enter opens one.`);
  }

  drawn() {
    this.root.dataset.span = this.frame.span.toFixed(4); // the width of what is seen, where the whole map is 2 wide
    this.point();
  }

  /** @param {import('./geometry.js').Camera} camera */
  look(camera) {
    this.fitted = false;
    this.surface.move();
    this.surface.aim(camera);
    this.tell();
  }

  resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    if (!width || !height) return;
    const isWhole = this.fitted && this.shown !== null;
    this.surface.aim(
      isWhole && this.shown ? whole(this.shown.cloud, { width, height }, this.covered) : this.frame.camera,
      {
        width,
        height,
      },
    );
  }

  /**
   * Goes to a view that someone else has chosen, not back to one that was told from here.
   *
   * @param {string} view "" for all
   */
  arrive(view) {
    const own = this.told.indexOf(view);
    if (own >= 0) this.told.splice(0, own + 1);
    const isKnown = own >= 0 || view === this.given;
    this.given = view;
    if (isKnown || !this.shown) return;
    this.told = [];
    this.fitted = !view;
    this.resize();
    if (view) this.surface.aim(viewCamera(view));
  }

  /** What is seen, for the link; "" for all of it. */
  view() {
    return this.fitted ? '' : viewText(this.frame.camera);
  }

  /** Tells what is seen, once the map is at rest. */
  tell() {
    clearTimeout(this.timers.rest);
    this.timers.rest = window.setTimeout(() => {
      const view = this.view();
      if (!this.root.isConnected || view === (this.told.at(-1) ?? this.given)) return;
      this.told.push(view);
      this.hooks.view(view);
    }, REST);
  }

  /** Shows all of the map, whatever the shape of the window. */
  showWhole() {
    this.fitted = true;
    this.resize();
    this.tell();
  }

  /** @param {number} factor above 1 zooms out */
  zoom(factor) {
    this.look(zoomed(this.frame, factor));
  }

  /**
   * @param {Point} point
   * @param {number} reach in pixels
   * @returns {Thing | null}
   */
  under(point, reach) {
    if (!this.scene || !this.shown) return null;
    const prototype = prototypeUnder(this.scene, point);
    if (prototype >= 0) return { prototype };
    const image = this.nearest?.find(this.frame.back(point), reach / this.frame.scale, this.shown.shown) ?? -1;
    return image < 0 ? null : { image };
  }

  /** @param {Point | null} point where the pointer is */
  move(point) {
    this.pointer = point;
    this.hover(point && !this.gestures?.outline ? this.under(point, REACH.mouse) : null);
  }

  /** What is under the pointer may have moved, changed or gone without a move of the pointer: tells of it anew. */
  point() {
    if (this.pointer) this.move(this.pointer);
    else if (this.hovered) this.hover(this.hovered);
  }

  /**
   * @param {Point} point
   * @param {boolean} isTouch
   */
  click(point, isTouch) {
    this.root.focus({ preventScroll: true });
    const thing = this.under(point, isTouch ? REACH.touch : REACH.mouse);
    if (thing) this.hooks.pick(this.nameOf(thing));
    else if (this.shown?.marked) this.hooks.pick('');
  }

  /**
   * @param {Point[]} stroke in pixels
   * @param {boolean} isDone
   */
  stroke(stroke, isDone) {
    if (!this.scene) return;
    const outline = outlineOf(stroke);
    this.scene.stroke = isDone ? [] : outline;
    if (isDone && outline.length > 2) {
      this.hooks.lasso?.(simplified(outline.map((point) => this.frame.back(point))));
    }
    this.surface.refresh(false);
  }

  /** @param {{ right: number, bottom: number }} covered pixels that something covers: all is seen beside them */
  setCovered(covered) {
    this.covered = covered;
    this.resize();
  }

  /** @param {boolean} isLasso whether a drag draws an outline */
  setLasso(isLasso) {
    this.isLasso = isLasso;
    this.root.classList.toggle('kx-map-lasso', isLasso);
  }

  /** @param {Thing} thing */
  nameOf(thing) {
    if ('prototype' in thing) return `prototype-${thing.prototype}`;
    return this.shown ? nameOf(this.shown.cloud, thing.image) : '';
  }

  /** @param {Thing | null} thing */
  hover(thing) {
    const name = thing && this.nameOf(thing);
    if (name !== (this.hovered && this.nameOf(this.hovered))) this.hooks.hover?.(name);
    this.hovered = thing;
    this.root.classList.toggle('kx-map-hit', thing !== null);
    if (!thing || !this.scene || !this.shown) {
      this.tip.hide();
      return;
    }
    const isPrototype = 'prototype' in thing;
    if (isPrototype && (thing.prototype >= this.scene.places.length || !isShown(this.scene, thing.prototype))) {
      this.hover(null);
      return;
    }
    const place = isPrototype ? prototypePlace(this.scene, thing.prototype) : imagePlace(this.scene, thing.image);
    const { picture, lines } = this.shown.about(thing);
    this.tip.show(place, picture, lines);
  }

  /**
   * Where something is, from the map's corner; null for what is not on it.
   *
   * @param {string} name
   * @returns {Point | null}
   */
  placeOf(name) {
    return (this.scene && ringOf(this.scene, name)?.place) ?? null;
  }

  /** @param {string} message what has gone wrong */
  fail(message) {
    this.status.hidden = false;
    this.status.textContent = message;
  }

  destroy() {
    for (const timer of Object.values(this.timers)) clearTimeout(timer);
    this.watcher?.disconnect();
    this.surface.destroy();
    this.root.remove();
  }
}

/**
 * Whether the dots look the same.
 *
 * @param {Shown} before
 * @param {Shown} after
 */
const sameDots = (before, after) =>
  before.cloud === after.cloud &&
  same(before.paint.colours, after.paint.colours) &&
  same(before.paint.category, after.paint.category) &&
  same(before.shown, after.shown) &&
  same(before.selected, after.selected);
