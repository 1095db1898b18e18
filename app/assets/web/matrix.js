// @ts-check
// A table of counts whose cells lead to the images that they count.

import { element } from './dom.js';

/**
 * @typedef {object} Cell
 * @property {string} text
 * @property {string} about what it counts, for those who cannot see where it is, and as a tool tip
 * @property {string} id what a click on it gives
 * @property {string} href where it leads; "" when there is nothing to show
 * @property {number} shade 0…1, how strong its ground is
 *
 * @typedef {{ header: Cell, cells: Cell[] }} Row
 *
 * @typedef {{ about: string, corner: string, over: string, columns: string[], rows: Row[] }} MatrixData `over` is above
 *   the columns, "" for nothing
 *
 * @typedef {import('./dom.js').Component<MatrixData>} MatrixComponent
 */

/**
 * @param {MatrixComponent} component
 * @returns {Promise<() => void>} what takes the table off the page
 */
export async function show(component) {
  const { parentElement, data } = component;
  const focused = parentElement.querySelector('a:focus')?.getAttribute('data-id');
  parentElement.querySelector('.kx-matrix')?.remove();
  const root = element('div', { class: 'kx-matrix', role: 'region', 'aria-label': data.about, tabindex: '0' });
  root.append(table(data));
  root.addEventListener('click', (event) => {
    const link = event.target instanceof Element && event.target.closest('a');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    component.setTriggerValue('picked', link.dataset.id);
  });
  parentElement.append(root);
  if (focused) [...root.querySelectorAll('a')].find((link) => link.dataset.id === focused)?.focus();
  return () => root.remove();
}

/** @param {MatrixData} data */
function table({ corner, over, columns, rows }) {
  const made = element('table');
  const head = element('thead', {}, made);
  if (over) {
    const above = element('tr', {}, head);
    element('td', {}, above);
    element('th', { text: over, scope: 'colgroup', colspan: String(columns.length) }, above);
  }
  const titles = element('tr', {}, head);
  element('th', { text: corner, scope: 'col' }, titles);
  for (const column of columns) element('th', { text: column, scope: 'col', title: column }, titles);
  const body = element('tbody', {}, made);
  for (const { header, cells } of rows) {
    const row = element('tr', {}, body);
    fill(element('th', { scope: 'row' }, row), header);
    for (const cell of cells) fill(element('td', {}, row), cell);
  }
  return made;
}

/**
 * @param {HTMLElement} place
 * @param {Cell} cell
 */
function fill(place, { text, about, id, href, shade }) {
  if (shade > 0) {
    place.classList.add('kx-shaded');
    place.style.setProperty('--s', `${Math.round(12 + 46 * shade)}%`);
  }
  if (!href) {
    place.textContent = text;
    return;
  }
  element('a', { text, href, title: about, 'aria-label': about, 'data-id': id }, place);
}
