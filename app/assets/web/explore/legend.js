// @ts-check
// The legend on the map: what colours and shapes mean, and how many images each has. An entry selects its images.

import { element } from '../dom.js';
import { histogram } from '../map/mask.js';

/** @typedef {import('./colouring.js').Colouring} Colouring */
/** @typedef {import('./colouring.js').LegendEntry} LegendEntry */

const NARROW = 640; // pixels: on a map that is narrower, it would cover a third of the images
const EDGE = 8; // pixels beside it
const MOST = 300; // entries: more are counted only

export class Legend {
  /**
   * @param {HTMLElement} parent
   * @param {{ toggle: (condition: string) => void, resized: (width: number) => void }} hooks its width, 0 if it is
   *     closed
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    this.root = element('details', { class: 'kx-legend', open: '' }, parent);
    this.title = element('summary', {}, this.root);
    this.list = element('ul', {}, this.root);
    this.shapes = element('ul', { class: 'kx-legend-shapes' }, this.root);
    this.hint = element('p', {}, this.root);
    this.key = '';
    let isNew = true;
    this.watcher = new ResizeObserver(() => {
      if (isNew && parent.clientWidth < NARROW) this.root.open = false;
      isNew = false;
      hooks.resized(this.root.open ? this.root.offsetWidth + EDGE : 0);
    });
    this.watcher.observe(this.root);
  }

  /**
   * @param {object} state
   * @param {Colouring} state.colouring
   * @param {Uint8Array | null} state.shown the images that are drawn, null for all
   * @param {string[]} state.conditions of the selection
   * @param {boolean} state.ghosts whether there are any
   * @param {boolean} state.far whether something is far from every image
   * @param {boolean} state.test whether test images are drawn
   */
  update({ colouring, shown, conditions, ghosts, far, test }) {
    const counts = countsOf(colouring, shown);
    const key = JSON.stringify([
      colouring.title,
      colouring.legend,
      colouring.colours,
      counts,
      conditions,
      ghosts,
      test,
    ]);
    if (key === this.key) return; // so that the focus stays
    this.key = key;
    const focused =
      document.activeElement instanceof HTMLElement ? document.activeElement.dataset.condition : undefined;
    this.title.textContent = colouring.title;
    this.list.replaceChildren();
    for (const entry of colouring.legend.slice(0, MOST)) {
      this.add(this.list, entry, entry.category === null ? null : counts[entry.category], conditions);
    }
    const left = colouring.legend.length - MOST;
    if (left > 0) element('li', { text: `… and ${left.toLocaleString('en')} more` }, this.list);
    this.shapes.replaceChildren();
    for (const entry of shapesFor(ghosts, far, test)) this.add(this.shapes, entry, null, []);
    this.hint.textContent = 'Shift and drag: select images';
    if (focused)
      this.list.querySelector(`[data-condition=${CSS.escape(focused)}]`)?.dispatchEvent(new Event('refocus'));
  }

  /**
   * @param {HTMLElement} list
   * @param {LegendEntry} entry
   * @param {number | null} images
   * @param {string[]} conditions
   */
  add(list, { colour, shape, text, condition }, images, conditions) {
    const row = element('li', {}, list);
    const line = condition
      ? element(
          'button',
          {
            type: 'button',
            'aria-pressed': String(conditions.includes(condition)),
            'data-condition': condition,
            title: `Select: ${text}`,
          },
          row,
        )
      : element('span', {}, row);
    const mark = element('i', { class: `kx-legend-${shape}`, 'aria-hidden': 'true' }, line);
    mark.style.color = colour;
    element('span', { text }, line);
    if (images !== null) element('span', { class: 'kx-legend-count', text: images.toLocaleString('en') }, line);
    if (!condition) return;
    line.addEventListener('click', () => this.hooks.toggle(condition));
    line.addEventListener('refocus', () => line.focus());
  }

  destroy() {
    this.watcher.disconnect();
    this.root.remove();
  }
}

/**
 * The number of images of each category among those that are drawn.
 *
 * @param {Colouring} colouring
 * @param {Uint8Array | null} shown null for all
 * @returns {number[]}
 */
export function countsOf({ category, colours }, shown) {
  return [...histogram(category, category.length, shown).subarray(0, Math.max(1, colours.length))];
}

/**
 * @param {boolean} ghosts
 * @param {boolean} far
 * @param {boolean} test
 * @returns {LegendEntry[]}
 */
function shapesFor(ghosts, far, test) {
  const entry = (/** @type {LegendEntry['shape']} */ shape, /** @type {string} */ text) => ({
    colour: 'var(--kx-ink)',
    shape,
    text,
    condition: null,
    category: null,
  });
  return [
    entry('square', 'prototype, larger for more images'),
    ...(ghosts ? [entry('diamond', 'ghost: nearest to no image')] : []),
    ...(test ? [entry('dot', 'test images are larger')] : []),
    ...(far ? [entry('cross', 'far from all others: place says little')] : []),
  ];
}
