// @ts-check
// The options of relevance maps: what they explain, by which method, and how they look.

import { element } from '../dom.js';
import { choice, offer } from '../explore/board_maps.js';
import { Controls } from '../relevance/controls.js';
import { listeners } from '../relevance/look.js';

/** @typedef {[name: string, title: string, about: string][]} Offered */
/** @typedef {{ targets: Offered, methods: Offered, scales: import('../relevance/look.js').Scales }} Options the usual one
 *     of each first */
/** @typedef {import('../explore/board.js').Choice} Choice */

export class OptionsPart {
  /**
   * @param {HTMLElement} parent
   * @param {(part: Partial<Choice>) => void} choose
   */
  constructor(parent, choose) {
    this.root = element('div', { class: 'kx-options', role: 'group', 'aria-label': 'Relevance maps' }, parent);
    const choices = element('div', { class: 'kx-choices' }, this.root);
    this.target = choice(choices, 'Explained number', (target) => choose({ target }));
    this.method = choice(choices, 'Relevance method', (method) => choose({ method }));
    this.about = element('p', { class: 'kx-fine' }, this.root);
    /** @type {Controls | null} */
    this.look = null;
    this.redraw = () => this.look?.draw();
  }

  /**
   * @param {Options} options
   * @param {Choice} chosen
   */
  update({ targets, methods, scales }, { target, method }) {
    const said = [this.fill(this.target, targets, target), this.fill(this.method, methods, method)];
    this.about.textContent = said.join(' ');
    if (!this.look) {
      this.look = new Controls(this.root, scales);
      this.look.update({ scales });
      listeners.add(this.redraw);
    }
  }

  /**
   * @param {HTMLSelectElement} select
   * @param {Offered} offered
   * @param {string} name "" for the usual one
   * @returns {string} what the chosen one is
   */
  fill(select, offered, name) {
    const chosen = offered.find(([each]) => each === name) ?? offered[0];
    offer(
      select,
      offered.map(([each, title]) => [each, title]),
      chosen[0],
    );
    return chosen[2];
  }

  leave() {
    listeners.delete(this.redraw);
    this.look?.leave();
    this.look = null;
  }
}
