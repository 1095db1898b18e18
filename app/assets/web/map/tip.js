// @ts-check
// The tool tip: what is under the pointer, beside it.

import { element } from '../dom.js';
import { tipCorner } from './geometry.js';

export class Tip {
  /** @param {HTMLElement} map */
  constructor(map) {
    this.map = map;
    this.root = element('div', { class: 'kx-map-tip', hidden: '' }, map);
  }

  /**
   * @param {import('./geometry.js').Point} place
   * @param {string | null} picture its address
   * @param {string[]} lines
   */
  show(place, picture, lines) {
    this.root.replaceChildren();
    if (picture) element('img', { src: picture, alt: '' }, this.root);
    const text = element('div', {}, this.root);
    for (const line of lines) element('div', { text: line }, text);
    this.root.hidden = false;
    const [left, top] = tipCorner(place, this.root.getBoundingClientRect(), this.map.getBoundingClientRect());
    this.root.style.left = `${left}px`;
    this.root.style.top = `${top}px`;
  }

  hide() {
    this.root.hidden = true;
  }
}
