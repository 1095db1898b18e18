// @ts-check
// The slider over the numbers of prototypes per class that were computed, and what the chosen one gives.

import { element, say, set } from '../dom.js';

const NAME = 'Prototypes per class';

export class NumberSlider {
  /**
   * @param {Element} parent
   * @param {(place: number) => void} slide is told the place of a number among all, at each step
   */
  constructor(parent, slide) {
    this.root = element('div', { class: 'kx-large-head' }, parent);
    const label = element('label', { class: 'kx-large-number' }, this.root);
    const head = element('span', { text: `${NAME} ` }, label);
    this.number = element('strong', {}, head);
    this.range = element('input', { type: 'range', min: '0', step: '1', 'aria-label': NAME }, label);
    const ends = element('span', { class: 'kx-large-ends', 'aria-hidden': 'true' }, label);
    this.ends = [element('small', {}, ends), element('small', {}, ends)];
    this.words = element('p', { class: 'kx-large-words' }, this.root);
    this.range.addEventListener('input', () => slide(this.range.valueAsNumber));
  }

  /**
   * @param {number[]} ks ascending
   * @param {number} k one of them
   * @param {string} words what it gives
   */
  show(ks, k, words) {
    const place = ks.indexOf(k);
    set(this.range, 'max', String(ks.length - 1));
    if (this.range.valueAsNumber !== place) this.range.value = String(place);
    set(this.range, 'aria-valuetext', `${k} per class`);
    this.range.disabled = ks.length < 2;
    say(this.number, String(k));
    [ks[0], ks[ks.length - 1]].forEach((end, at) => say(this.ends[at], String(end)));
    say(this.words, words);
  }
}
