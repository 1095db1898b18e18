// @ts-check
// What is selected: by which conditions, what is special about it, its images and their prototypes.

import { element, fit, picture, say, set } from '../dom.js';
import { count as formatted } from '../map/data.js';
import { histogram } from '../map/mask.js';
import { csvOf } from './csv.js';
import { facts, percent } from './facts.js';
import { counted, exemplarOf, titleOf } from './prototypes.js';
import { conditionTitle, count, indices } from './selection.js';
import { prototypePoint } from './state.js';
import { Tray } from './tray.js';

/** @typedef {import('./panel_view.js').PanelView} PanelView */
/** @typedef {import('./prototype_card.js').Hooks} Hooks */

const SHOWN = 60; // images at first
const MOST_PROTOTYPES = 8;
const REST = 120; // milliseconds after which what is special is computed: not at each step of a drag

/**
 * The prototypes that some images are nearest to, most images first.
 *
 * @param {ArrayLike<number>} nearest of all images
 * @param {import('../map/mask.js').Mask} images
 * @returns {[p: number, images: number][]}
 */
export function activated(nearest, images) {
  const counts = histogram(nearest, nearest.length, images);
  return /** @type {[number, number][]} */ ([...counts.entries()])
    .filter(([, count]) => count)
    .sort((a, b) => b[1] - a[1] || a[0] - b[0]);
}

/**
 * A condition in words, with the prototype's own name.
 *
 * @param {string} condition
 * @param {PanelView} view
 */
export function conditionWords(condition, { data, layer }) {
  const p = condition.startsWith('prototype:') ? layer.place.indexOf(condition.slice('prototype:'.length)) : -1;
  if (p < 0) return conditionTitle(condition, data.model);
  return `nearest to ${layer.name[p] || titleOf(layer, data.model, p).replace('Prototype', 'prototype')}`;
}

export class SelectionPanel {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    /** @type {PanelView | null} */
    this.view = null;
    /** @type {number[]} */
    this.images = [];
    this.resting = 0;
    /** @type {Chip[]} */
    this.chips = [];
    /** @type {Fact[]} */
    this.facts = [];
    /** @type {Activated[]} */
    this.activated = [];
    this.root = element('article', { class: 'kx-card-view' }, parent);
    this.title = element('h3', { tabindex: '-1' }, this.root);
    this.conditions = element('div', { class: 'kx-pills' }, this.root);
    this.buttons = element('div', { class: 'kx-pills' }, this.root);
    this.download = element('button', { type: 'button', class: 'kx-pill', text: 'Download CSV' }, this.buttons);
    this.clear = element('button', { type: 'button', class: 'kx-pill', text: 'Clear' }, this.buttons);
    this.factsTitle = element('h4', { text: 'Where these images (bar) differ from all images (line)' }, this.root);
    this.factsList = element('ul', { class: 'kx-facts-list' }, this.root);
    this.noFacts = element('p', { class: 'kx-quiet' }, this.root);
    this.trayTitle = element('h4', { text: 'Images' }, this.root);
    this.tray = new Tray(this.root, hooks, SHOWN);
    this.activatedTitle = element('h4', { text: 'Their nearest prototypes' }, this.root);
    this.activatedList = element('div', { class: 'kx-activated' }, this.root);
    this.download.addEventListener('click', () => this.save());
    this.clear.addEventListener('click', () => this.hooks.change({ select: [] }));
  }

  /** @param {PanelView} view */
  update(view) {
    const { selection, layer } = view;
    if (!selection) return;
    this.view = view;
    this.images = indices(selection.mask);
    const some = this.images.length > 0;
    say(this.title, `${counted(count(selection.mask), 'image')} of ${formatted(view.cloud.total)}`);
    fit(this.chips, selection.conditions.length, () => new Chip(this.conditions, (text) => this.remove(text)));
    selection.conditions.forEach((condition, i) => this.chips[i].fill(condition, conditionWords(condition, view)));
    for (const part of [this.download, this.trayTitle, this.activatedTitle]) part.hidden = !some;
    this.tray.show(view, this.images);
    const all = activated(layer.nearest, selection.mask);
    const shown = all.slice(0, MOST_PROTOTYPES);
    say(
      this.activatedTitle,
      all.length > shown.length
        ? `Their nearest prototypes: ${shown.length} of ${all.length}`
        : `Their nearest prototypes: ${all.length}`,
    );
    fit(this.activated, shown.length, () => new Activated(this.activatedList, this.hooks));
    shown.forEach(([p, images], i) => this.activated[i].fill(view, p, images, this.images.length));
    clearTimeout(this.resting);
    this.resting = window.setTimeout(() => this.showFacts(), REST);
  }

  showFacts() {
    const { view } = this;
    if (!view?.selection) return;
    const { cloud, layer, attributes, selection, data } = view;
    const { attributes: attributeNames, classes } = data.model;
    const { mask, conditions } = selection;
    const found = facts(mask, { cloud, layer, attributes, attributeNames, classes, conditions });
    fit(this.facts, found.facts.length, () => new Fact(this.factsList, this.hooks));
    found.facts.forEach((fact, i) => this.facts[i].fill(fact, conditions));
    this.factsTitle.hidden = found.facts.length === 0;
    set(this.factsList, 'title', found.test);
    const isRest = found.images === cloud.total || found.images === 0;
    say(
      this.noFacts,
      found.facts.length || isRest ? '' : 'Nothing is more frequent here than in the other images beyond chance.',
    );
    this.noFacts.hidden = !this.noFacts.textContent;
  }

  /** @param {string} condition */
  remove(condition) {
    const left = this.view?.address.select.filter((each) => each !== condition) ?? [];
    this.hooks.change({ select: left });
    (this.chips[0]?.root ?? this.title).focus();
  }

  save() {
    if (!this.view) return;
    const content = new Blob(['\ufeff', csvOf(this.view, this.images)], { type: 'text/csv' });
    const address = URL.createObjectURL(content);
    const link = element('a', { href: address, download: `${this.view.data.model.name}-selection.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }
}

/** A condition that can be taken away. */
class Chip {
  /**
   * @param {HTMLElement} parent
   * @param {(condition: string) => void} remove
   */
  constructor(parent, remove) {
    this.condition = '';
    this.root = element('button', { type: 'button', class: 'kx-pill kx-chip' }, parent);
    this.text = element('span', {}, this.root);
    element('span', { text: ' ×', 'aria-hidden': 'true' }, this.root);
    this.root.addEventListener('click', () => remove(this.condition));
  }

  /**
   * @param {string} condition
   * @param {string} words
   */
  fill(condition, words) {
    this.condition = condition;
    say(this.text, words);
    set(this.root, 'aria-label', `Remove condition: ${words}`);
    set(this.root, 'title', `Remove: ${words}`);
  }
}

/** What the selection has more of: its share as a bar, that of all data as a mark. */
class Fact {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.condition = '';
    /** @type {string[]} */
    this.conditions = [];
    this.root = element('li', {}, parent);
    this.name = element('button', { type: 'button' }, this.root);
    this.bar = element('i', { 'aria-hidden': 'true' }, this.root);
    this.text = element('span', {}, this.root);
    this.name.addEventListener('click', () => hooks.change({ select: [...this.conditions, this.condition] }));
  }

  /**
   * @param {import('./facts.js').Fact} fact
   * @param {string[]} conditions of the selection
   */
  fill(fact, conditions) {
    this.condition = fact.condition;
    this.conditions = conditions;
    const name = fact.text.replaceAll('_', ' ');
    say(this.name, name);
    set(this.name, 'title', `Select those with ${name} only`);
    this.bar.style.setProperty('--s', `${100 * fact.share}%`);
    this.bar.style.setProperty('--d', `${100 * fact.data}%`);
    say(this.text, `${percent(fact.share)} (data ${percent(fact.data)})`);
  }
}

/** A prototype that images of the selection are nearest to. */
class Activated {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.point = '';
    this.picture = hooks.picture;
    this.root = element('button', { type: 'button', class: 'kx-row' }, parent);
    this.image = element('img', { alt: '' }, this.root);
    this.text = element('span', {}, this.root);
    this.root.addEventListener('click', () => hooks.pick(this.point));
  }

  /**
   * @param {PanelView} view
   * @param {number} p
   * @param {number} images
   * @param {number} all images of the selection
   */
  fill({ data, layer }, p, images, all) {
    this.point = prototypePoint(layer, p);
    picture(this.image, exemplarOf(layer, data.pictures, p, this.picture));
    const name = layer.name[p] || titleOf(layer, data.model, p);
    say(this.text, `${name}: ${counted(images, 'image')} (${percent(images / all)})`);
  }
}
