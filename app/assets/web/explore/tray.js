// @ts-check
// A tray of images as buttons, some at first and more on demand.

import { element, fit, picture, set } from '../dom.js';
import { nameOf } from '../map/data.js';
import { imageTitle, thumbnailOf } from './prototypes.js';

/** @typedef {import('./panel_view.js').PanelView} PanelView */

/** @typedef {{ pick: (name: string) => void, picture: (address: string) => string }} Hooks */

export class Tray {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   * @param {number} step how many are shown at first, and more at a time
   */
  constructor(parent, hooks, step) {
    this.hooks = hooks;
    this.step = step;
    this.shown = step;
    /** @type {number[]} */
    this.images = [];
    this.named = false;
    /** @type {PanelView | null} */
    this.view = null;
    /** @type {Thumb[]} */
    this.thumbs = [];
    this.root = element('div', { class: 'kx-tray' }, parent);
    this.list = element('div', { class: 'kx-tray-list' }, this.root);
    this.more = element('button', { class: 'kx-pill', type: 'button' }, this.root);
    this.more.addEventListener('click', () => this.showMore());
  }

  /**
   * @param {PanelView} view
   * @param {number[]} images
   * @param {boolean} [named] with the name of the class below each, as those without a picture always are
   */
  show(view, images, named = false) {
    const same = images.length === this.images.length && images.every((image, i) => image === this.images[i]);
    if (!same) this.shown = this.step;
    this.view = view;
    this.images = images;
    this.named = named;
    this.draw();
  }

  draw() {
    const { view, images } = this;
    if (!view) return;
    const count = Math.min(this.shown, images.length);
    fit(this.thumbs, count, () => new Thumb(this.list, this.hooks));
    this.thumbs.forEach((thumb, place) => thumb.fill(view, images[place], this.named));
    const left = images.length - count;
    this.more.hidden = left === 0;
    this.more.textContent = `Show ${Math.min(left, this.step)} more`;
  }

  showMore() {
    const next = this.shown;
    this.shown += this.step;
    this.draw();
    this.thumbs[next]?.root.focus();
  }
}

class Thumb {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    this.root = element('button', { class: 'kx-thumb', type: 'button' }, parent);
    this.image = element('img', { loading: 'lazy', alt: '' }, this.root);
    this.name = element('small', {}, this.root);
    this.point = '';
    this.root.addEventListener('click', () => this.hooks.pick(this.point));
  }

  /**
   * @param {PanelView} view
   * @param {number} i
   * @param {boolean} named
   */
  fill({ data, cloud, layer }, i, named) {
    const label = cloud.labels[i];
    const wrong = layer.predicted[i] !== label;
    const classes = data.model.classes;
    const verdict = wrong ? `, ${data.model.by} predicts ${classes[layer.predicted[i]]} ✗` : '';
    const about = `${imageTitle(cloud, i)}: ${classes[label]}${verdict}`;
    this.point = nameOf(cloud, i);
    const source = this.hooks.picture(data.pictures + thumbnailOf(cloud, i));
    picture(this.image, source);
    set(this.root, 'aria-label', about);
    set(this.root, 'title', about);
    this.root.classList.toggle('kx-wrong', wrong);
    const isNamed = named || !source;
    this.name.hidden = !isNamed;
    this.name.textContent = isNamed ? classes[label] : '';
  }
}
