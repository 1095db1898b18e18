// @ts-check
// The controls of how maps look, and what the colours mean.

import { element } from '../dom.js';
import { change, look, offer, scaleOf } from './look.js';

export class Controls {
  /**
   * @param {HTMLElement} parent
   * @param {import('./look.js').Scales} scales
   */
  constructor(parent, scales) {
    this.scales = scales;
    this.root = element('div', { class: 'kx-look' }, parent);
    const opacity = element('label', {}, this.root);
    const name = element('span', { text: 'Relevance map opacity ' }, opacity);
    this.number = element('span', {}, name); // not <output>, which the label would belong to
    this.slider = element('input', { type: 'range', min: '0', max: '100', step: '5' }, opacity);
    this.slider.title = '0% shows the picture only, 100% the relevance map only.';
    const colours = element('label', {}, this.root);
    element('span', { text: 'Colours' }, colours);
    this.choice = element('select', {}, colours);
    const legend = element('div', { class: 'kx-look-legend' }, this.root);
    this.bar = element('div', { class: 'kx-look-bar', 'aria-hidden': 'true' }, legend);
    this.words = element('div', { class: 'kx-look-words', role: 'status' }, legend);
    this.slider.addEventListener('input', () => change({ opacity: Number(this.slider.value) }));
    this.choice.addEventListener('change', () => change({ colours: this.choice.value }));
  }

  /** @param {{ scales: import('./look.js').Scales }} data */
  update({ scales }) {
    this.scales = scales;
    this.choice.replaceChildren(...Object.keys(scales).map((name) => element('option', { value: name, text: name })));
    offer(scales);
    this.draw();
  }

  draw() {
    const { anchors, names } = scaleOf(this.scales);
    this.slider.value = String(look.opacity);
    this.slider.setAttribute('aria-valuetext', `${look.opacity}%`);
    this.number.textContent = `${look.opacity}%`;
    this.choice.value = look.colours;
    this.bar.style.background = `linear-gradient(90deg,${anchors.map((rgb) => `rgb(${rgb})`).join()})`;
    const [low, middle, high] = names;
    const words = [
      [high[0].toUpperCase() + high.slice(1), ' pixels raise the score, '],
      [middle, ' pixels do not matter, '],
      [low, ' pixels lower it.'],
    ];
    this.words.replaceChildren(
      ...words.flatMap(([name, rest]) => [element('strong', { text: name }), document.createTextNode(rest)]),
    );
  }

  leave() {
    offer(null);
    this.root.remove();
  }
}
