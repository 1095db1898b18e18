// @ts-check
// The card of one image: what it is, what is predicted for it, and what it is near to.

import { element, fit, picture, say, set } from '../dom.js';
import { percent } from './facts.js';
import { exemplarOf, imageOf, imageTitle, thumbnailOf, titleOf } from './prototypes.js';
import { NOT_PREDICTED, isIn } from './selection.js';
import { prototypePoint } from './state.js';

/** @typedef {import('./panel_view.js').PanelView} PanelView */
/** @typedef {import('./prototype_card.js').Hooks} Hooks */

/**
 * What is predicted for an image, a line for each model: who, what, and whether it is right.
 *
 * @param {PanelView} view
 * @param {number} i
 * @returns {{ by: string, text: string, right: boolean }[]}
 */
export function predictions({ data, cloud, layer }, i) {
  const { by, beside, classes } = data.model;
  const line = (/** @type {string} */ name, /** @type {number} */ label) => ({
    by: name,
    text: `${classes[label]} ${label === cloud.labels[i] ? '✓' : '✗'}`,
    right: label === cloud.labels[i],
  });
  const lines = [line(by, layer.predicted[i])];
  if (beside && cloud.blackBox[i] !== NOT_PREDICTED) lines.push(line('Black box', cloud.blackBox[i]));
  return lines;
}

/**
 * The attributes that an image is known to have; null where none of them is known.
 *
 * @param {PanelView} view
 * @param {number} i
 * @returns {string[] | null}
 */
export function attributesOf({ data, attributes }, i) {
  if (!attributes) return null;
  const { has, known } = attributes;
  if (!known.some((bits) => isIn(bits, i))) return null;
  return data.model.attributes.filter((_, a) => isIn(has[a], i) && isIn(known[a], i));
}

export class ImageCard {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    /** @type {PanelView | null} */
    this.view = null;
    this.i = -1;
    /** @type {Line[]} */
    this.lines = [];
    /** @type {{ root: HTMLButtonElement }[]} */
    this.chips = [];
    this.root = element('article', { class: 'kx-card-view' }, parent);
    this.title = element('h3', { tabindex: '-1' }, this.root);
    const head = element('div', { class: 'kx-card-head' }, this.root);
    this.image = element('img', { class: 'kx-card-picture' }, head);
    const facts = element('div', {}, head);
    this.table = element('dl', { class: 'kx-facts' }, facts);
    this.buttons = element('div', { class: 'kx-pills' }, this.root);
    this.explain = element('button', { type: 'button', class: 'kx-pill', text: 'Explain on the board' }, this.buttons);
    this.page = element('button', { type: 'button', class: 'kx-pill', text: 'Open in Explain' }, this.buttons);
    this.attributesTitle = element('h4', { text: 'Attributes' }, this.root);
    this.attributes = element('div', { class: 'kx-pills' }, this.root);
    element('h4', { text: 'Nearest prototype' }, this.root);
    this.nearest = element('button', { type: 'button', class: 'kx-row' }, this.root);
    this.nearestImage = element('img', { alt: '' }, this.nearest);
    this.nearestText = element('span', {}, this.nearest);
    this.listen();
  }

  listen() {
    this.nearest.addEventListener('click', () => {
      if (this.view) this.hooks.pick(prototypePoint(this.view.layer, this.view.layer.nearest[this.i]));
    });
    this.explain.addEventListener('click', () => {
      if (this.view) this.hooks.change({ picture: this.view.address.point, framing: '', point: '' });
    });
    this.page.addEventListener('click', () => {
      if (!this.view) return;
      const { train } = this.view.cloud;
      const isTrain = this.i < train;
      /** @type {Record<string, string>} */
      const query = isTrain
        ? { source: 'Training image', training: String(this.i) }
        : { source: 'Test image', image: String(this.i - train) };
      this.hooks.open({ page: 'explain', query });
    });
  }

  /** @param {PanelView} view */
  update(view) {
    this.view = view;
    const { data, cloud, layer, address, certainty } = view;
    const { classes } = data.model;
    const i = imageOf(cloud, address.point);
    this.i = i;
    this.explain.hidden = !data.can.pictures;
    this.page.hidden = !data.can.open;
    const label = classes[cloud.labels[i]];
    say(this.title, imageTitle(cloud, i));
    picture(this.image, this.hooks.picture(data.pictures + thumbnailOf(cloud, i)));
    set(this.image, 'alt', `${imageTitle(cloud, i)} of ${label}`);
    const lines = [{ by: 'Class', text: label, right: true }, ...predictions(view, i)];
    if (certainty) {
      lines.push({ by: 'Confidence', text: percent(certainty.confidence[i]), right: true });
      lines.push({ by: 'Distance', text: certainty.distance[i].toPrecision(3), right: true });
    }
    if (cloud.far[i])
      lines.push({ by: 'On the map', text: 'far from every image: its place says little', right: true });
    fit(this.lines, lines.length, () => new Line(this.table));
    lines.forEach((line, place) => this.lines[place].fill(line));
    this.showAttributes(attributesOf(view, i));
    const p = layer.nearest[i];
    picture(this.nearestImage, exemplarOf(layer, data.pictures, p, this.hooks.picture));
    say(this.nearestText, layer.name[p] || titleOf(layer, data.model, p));
  }

  /** @param {string[] | null} names */
  showAttributes(names) {
    for (const part of [this.attributes, this.attributesTitle]) part.hidden = !names;
    fit(this.chips, names?.length ?? 0, () => {
      const root = element('button', { type: 'button', class: 'kx-pill' }, this.attributes);
      root.addEventListener('click', () =>
        this.hooks.change({ select: [`attribute:${root.dataset.name}`], point: '' }),
      );
      return { root };
    });
    names?.forEach((name, place) => {
      const chip = this.chips[place].root;
      chip.dataset.name = name;
      say(chip, name.replaceAll('_', ' '));
      set(chip, 'title', `Select all images with ${name}`);
    });
    say(this.attributesTitle, names?.length === 0 ? 'Attributes: none' : 'Attributes');
  }
}

/** A fact: its name and what it is. */
class Line {
  /** @param {HTMLElement} parent */
  constructor(parent) {
    this.root = element('div', {}, parent);
    this.by = element('dt', {}, this.root);
    this.text = element('dd', {}, this.root);
  }

  /** @param {{ by: string, text: string, right: boolean }} line */
  fill({ by, text, right }) {
    say(this.by, by);
    say(this.text, text);
    this.text.classList.toggle('kx-false', !right);
  }
}
