// @ts-check
// Which prototype of a class came from which, by the last step of k.

import { element, fit, picture, say, set } from '../dom.js';
import { counted, exemplarOf, numberOf, titleOf } from './prototypes.js';
import { prototypePoint } from './state.js';

/** @typedef {import('./panel_view.js').PanelView} PanelView */
/** @typedef {import('./columns.js').Layer} Layer */

const SVG = 'http://www.w3.org/2000/svg';
const GAP = 30; // pixels between two pictures' middles, at least
const HEIGHT = 28; // of the lines between the rows

/**
 * Where the lines of a class's lineage begin and end, 0…1 from left to right.
 *
 * @param {number[]} above prototypes of the row above
 * @param {number[]} below those below
 * @param {number[]} parent of each of all prototypes below
 * @returns {[number, number][]}
 */
export function lineageLines(above, below, parent) {
  const middle = (/** @type {number} */ place, /** @type {number[]} */ row) => (place + 0.5) / row.length;
  return below.flatMap((p, place) => {
    const from = above.indexOf(parent[p]);
    return from < 0 ? [] : [/** @type {[number, number]} */ ([middle(from, above), middle(place, below)])];
  });
}

/**
 * The row above in the order of what came from it, so that few lines cross.
 *
 * @param {number[]} above
 * @param {number[]} below
 * @param {number[]} parent of each of all prototypes below
 * @returns {number[]}
 */
export function untangled(above, below, parent) {
  const middle = (/** @type {number} */ from) => {
    const places = [...below.keys()].filter((place) => parent[below[place]] === from);
    return places.length ? places.reduce((sum, place) => sum + place, 0) / places.length : Infinity;
  };
  const keyed = above.map((p) => /** @type {const} */ ([p, middle(p)]));
  return keyed.sort(([p, a], [q, b]) => (a === b ? p - q : a - b)).map(([p]) => p);
}

/**
 * @param {Layer} layer
 * @param {number} label
 */
const membersOf = (layer, label) => [...layer.class.keys()].filter((p) => layer.class[p] === label);

export class Lineage {
  /**
   * @param {HTMLElement} parent
   * @param {{ pick: (name: string) => void, picture: (address: string) => string }} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    this.root = element('figure', { class: 'kx-lineage' }, parent);
    this.root.hidden = true;
    this.caption = element('figcaption', {}, this.root);
    this.tree = element('div', { class: 'kx-lineage-tree' }, this.root);
    this.above = element('div', { class: 'kx-lineage-row' }, this.tree);
    this.lines = document.createElementNS(SVG, 'svg');
    this.lines.setAttribute('viewBox', `0 0 1000 ${HEIGHT}`);
    this.lines.setAttribute('preserveAspectRatio', 'none');
    this.lines.setAttribute('aria-hidden', 'true');
    this.tree.append(this.lines);
    this.below = element('div', { class: 'kx-lineage-row' }, this.tree);
    /** @type {Node[]} */
    this.parents = [];
    /** @type {Node[]} */
    this.children = [];
  }

  /**
   * @param {PanelView} view
   * @param {number} label the class
   * @param {boolean} alone whether it is the only one that is shown; else there is no lineage
   */
  update(view, label, alone) {
    const { layer, before } = view;
    const below = alone ? membersOf(layer, label) : [];
    const above = alone && before ? untangled(membersOf(before, label), below, layer.parent) : [];
    const lines = lineageLines(above, below, layer.parent);
    this.root.hidden = lines.length === 0;
    if (!before || this.root.hidden) return;
    say(this.caption, `Where they come from: ${counted(above.length, 'prototype')} above, ${below.length} below`);
    this.tree.style.minWidth = `${GAP * below.length}px`;
    const path = lines.map(([from, to]) => `M${1000 * from} 0L${1000 * to} ${HEIGHT}`).join('');
    if (!this.lines.firstChild) this.lines.append(document.createElementNS(SVG, 'path'));
    /** @type {Element} */ (this.lines.firstChild).setAttribute('d', path);
    fit(this.parents, above.length, () => new Node(this.above, null, this.hooks));
    fit(this.children, below.length, () => new Node(this.below, this.hooks.pick, this.hooks));
    above.forEach((p, i) => this.parents[i].fill(view, before, p, ''));
    below.forEach((p, i) => {
      const from = layer.parent[p] < 0 ? '' : `, from ${numberOf(before, layer.parent[p])} of ${above.length}`;
      this.children[i].fill(view, layer, p, from);
    });
  }
}

class Node {
  /**
   * @param {HTMLElement} parent
   * @param {((name: string) => void) | null} pick null for one that cannot be picked
   * @param {{ picture: (address: string) => string }} hooks
   */
  constructor(parent, pick, hooks) {
    this.hooks = hooks;
    this.point = '';
    this.root = pick ? element('button', { type: 'button' }, parent) : element('span', {}, parent);
    this.image = element('img', {}, this.root);
    this.root.addEventListener('click', () => pick?.(this.point));
  }

  /**
   * @param {PanelView} view
   * @param {Layer} layer
   * @param {number} p
   * @param {string} from what it came from
   */
  fill({ data }, layer, p, from) {
    this.point = prototypePoint(layer, p);
    const about = titleOf(layer, data.model, p) + from;
    picture(this.image, exemplarOf(layer, data.pictures, p, this.hooks.picture));
    set(this.image, 'alt', about);
    set(this.image, 'title', about);
  }
}
