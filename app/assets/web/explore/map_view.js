// @ts-check
// The map of Explore: what the workspace shows, given to the map, and what people do there, told to the workspace.

import { element } from '../dom.js';
import { EmbeddingMap } from '../map/component.js';
import { aboutImage, aboutPrototype } from '../map/data.js';
import { placesOf } from '../map/geometry.js';
import { splits, starts, startsBack } from '../map/steps.js';
import { Legend } from './legend.js';
import { outlineIn, toggled } from './selection.js';

/** @typedef {import('../map/data.js').Cloud} Cloud */
/** @typedef {import('../map/geometry.js').Point} Point */
/** @typedef {import('./columns.js').Layer} Layer */
/** @typedef {import('./state.js').WorkspaceData} WorkspaceData */

/**
 * @typedef {object} Hooks
 * @property {import('./transport.js').Transport} transport
 * @property {(name: string) => void} pick "train-3", "test-4", "prototype-12"; "" beside them all
 * @property {(corners: Point[]) => void} lasso
 * @property {(text: string) => void} view
 * @property {(part: Partial<import('./state.js').Address>) => void} change a selection by the legend
 * @property {(name: string | null) => void} [hover]
 */

/**
 * @typedef {object} State
 * @property {Cloud} cloud
 * @property {Layer} layer
 * @property {WorkspaceData} data
 * @property {import('./colouring.js').Colouring} colouring
 * @property {Uint8Array | null} shown mask of the images that are drawn, null for all
 * @property {Uint8Array | null} selected mask of the images that are not pale, null for all
 * @property {string[]} classes names of the classes that are shown; empty for all
 * @property {boolean} test whether test images are drawn
 * @property {string[]} conditions of the selection
 * @property {string} marked as `pick` tells it
 * @property {number[] | null} focus the prototypes that are not pale, null for all
 * @property {{ place: Point, url: string, lines: number[] } | null} picture in raw units of the cloud
 * @property {string} view
 */

const COVERED = 0.35; // of the map's width: a legend that covers more leaves too little beside it
const FOOT = 48; // pixels for what lies on the map's lower edge
const PIXELATED = 32; // pixels of the network's input, up to which pixels are seen as squares

export class MapView {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    /** @type {State | null} */
    this.state = null;
    this.root = element('div', { class: 'kx-map-view' }, parent);
    this.map = new EmbeddingMap(this.root, hooks);
    this.legend = new Legend(this.root, {
      resized: (width) =>
        this.map.setCovered({ right: width < COVERED * this.root.clientWidth ? width : 0, bottom: FOOT }),
      toggle: (condition) => this.state && hooks.change({ select: toggled(this.state.conditions, condition) }),
    });
  }

  /** @param {State} state */
  update(state) {
    const before = this.state;
    this.state = state;
    const { cloud, layer, data, shown } = state;
    this.map.root.classList.toggle('kx-map-pixelated', data.model.side <= PIXELATED);
    this.map.show({
      cloud,
      layer,
      names: data.model.classes,
      paint: state.colouring,
      shown,
      selected: state.selected,
      classes: state.classes.length ? new Set(state.classes.map((name) => data.model.classes.indexOf(name))) : null,
      focus: state.focus && new Set(state.focus),
      marked: state.marked,
      outline: outlineIn(state.conditions),
      picture: state.picture && {
        ...state.picture,
        place: [cloud.normal(state.picture.place[0], 0), cloud.normal(state.picture.place[1], 1)],
      },
      view: state.view,
      instead: 'The panel beside it lists the same prototypes and images.',
      about: (thing) => this.about(thing),
      ...stepBetween(before, state),
    });
    this.legend.update({
      colouring: state.colouring,
      shown,
      conditions: state.conditions,
      ghosts: layer.ghost.includes(true),
      far: layer.far.includes(true) || cloud.far.includes(1),
      test: state.test,
    });
  }

  /** @param {import('../map/component.js').Thing} thing */
  about(thing) {
    if (!this.state) return { picture: null, lines: [] };
    const { cloud, layer, data } = this.state;
    const { model } = data;
    const about = { names: model.classes, by: model.by, beside: model.beside };
    const isPrototype = 'prototype' in thing;
    const { picture, lines } = isPrototype
      ? aboutPrototype(layer, about, thing.prototype)
      : aboutImage(cloud, layer, about, thing.image);
    const name = isPrototype && layer.name[thing.prototype];
    return {
      picture: picture && this.hooks.transport.picture(`${data.pictures}${picture}.png`),
      lines: [...(name ? [name] : []), ...lines],
    };
  }

  /** @param {boolean} isLasso whether a drag draws an outline */
  setLasso(isLasso) {
    this.map.setLasso(isLasso);
  }

  destroy() {
    this.map.destroy();
    this.legend.destroy();
    this.root.remove();
  }
}

/**
 * How prototypes move from one state to the next: along their lineage, where one has a prototype per class more.
 *
 * @param {State | null} before
 * @param {State} after
 * @returns {{ from: Point[] | null, splits: [child: number, from: Point][] }}
 */
export function stepBetween(before, after) {
  const step = before && before.cloud === after.cloud ? stepOf(before.layer.source, after.layer.source) : 0;
  if (!before || !step) return { from: null, splits: [] };
  const [old, now] = [placesOf(before.cloud, before.layer), placesOf(after.cloud, after.layer)];
  if (step < 0) return { from: startsBack(old, now, before.layer.parent), splits: [] };
  return {
    from: starts(old, now, after.layer.parent),
    splits: splits(after.layer.parent).map(([child, parent]) => [child, old[parent] ?? now[child]]),
  };
}

/**
 * 1 for one prototype per class more, −1 for one fewer, 0 for anything else.
 *
 * @param {string} before
 * @param {string} after
 */
export function stepOf(before, after) {
  const [one, other] = [before, after].map((source) => /^kmeans:(\d+):(.*)$/.exec(source));
  if (!one || !other || one[2] !== other[2]) return 0;
  const step = Number(other[1]) - Number(one[1]);
  return Math.abs(step) === 1 ? step : 0;
}
