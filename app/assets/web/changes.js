// @ts-check
// Which images have which prototypes in two models: a matrix with pictures as heads, whose cells can be clicked.

import { element } from './dom.js';

/**
 * @typedef {object} Head a prototype, or all others
 * @property {string} name
 * @property {string} picture its address below the data set's pictures, without ".png"; "" for none
 * @property {string} about what it is, for those who cannot see it and as a tool tip
 *
 * @typedef {object} ChangesData
 * @property {string} pictures
 * @property {boolean} pixelated
 * @property {[string, string]} models their names
 * @property {Head[]} rows of the first model
 * @property {Head[]} columns of the second
 * @property {number[][]} counts images that a row and a column share
 * @property {number[]} match the column that each row is matched with; -1 for none
 * @property {[number, number] | null} chosen the cell that was clicked
 *
 * @typedef {import('./dom.js').Component<ChangesData>} ChangesComponent
 */

/**
 * @param {ChangesComponent} component
 * @returns {Promise<() => void>} what takes the matrix off the page
 */
export async function show(component) {
  const { parentElement, data } = component;
  const before = parentElement.querySelector(':scope > .kx-changes');
  const focused = before?.contains(document.activeElement);
  const root = element('div', { class: 'kx-changes', role: 'region', tabindex: '0' });
  root.setAttribute('aria-label', `Images by their prototypes of ${data.models[0]} and ${data.models[1]}`);
  root.classList.toggle('kx-smooth', !data.pixelated);
  table(component, root);
  before?.remove();
  parentElement.append(root);
  if (focused) /** @type {HTMLElement | null} */ (root.querySelector('[aria-pressed=true]'))?.focus();
  return () => root.remove();
}

/**
 * @param {ChangesComponent} component
 * @param {Element} root
 */
function table(component, root) {
  const { data } = component;
  const body = element('table', {}, root);
  const top = element('tr', {}, element('thead', {}, body));
  element('th', { scope: 'col', text: 'A ↓  B →', title: `A: ${data.models[0]}; B: ${data.models[1]}` }, top);
  for (const column of data.columns) head(column, 'col', top, data.pictures);
  const rows = element('tbody', {}, body);
  data.rows.forEach((row, r) => {
    const line = element('tr', {}, rows);
    head(row, 'row', line, data.pictures);
    data.counts[r].forEach((count, c) => cell(component, element('td', {}, line), r, c, count));
  });
}

/**
 * @param {Head} of
 * @param {string} scope
 * @param {Element} parent
 * @param {string} pictures
 */
function head(of, scope, parent, pictures) {
  const place = element('th', { scope, title: of.about }, parent);
  if (of.picture) element('img', { src: `${pictures}${of.picture}.png`, alt: '', loading: 'lazy' }, place);
  element('span', { text: of.name }, place);
}

/**
 * @param {ChangesComponent} component
 * @param {HTMLElement} place
 * @param {number} r
 * @param {number} c
 * @param {number} count
 */
function cell({ data, setTriggerValue }, place, r, c, count) {
  const matched = data.match[r] === c;
  place.classList.toggle('kx-matched', matched);
  if (count === 0) {
    place.textContent = '0';
    return;
  }
  place.style.setProperty('--s', `${(60 * count) / Math.max(...data.counts[r])}%`);
  const pressed = data.chosen !== null && data.chosen[0] === r && data.chosen[1] === c;
  const button = element('button', { type: 'button', 'aria-pressed': String(pressed) }, place);
  button.textContent = count.toLocaleString('en');
  const words = `${count} images: ${data.rows[r].about}; ${data.columns[c].about}${matched ? '; matched' : ''}`;
  button.setAttribute('aria-label', words);
  button.title = words;
  button.addEventListener('click', () => setTriggerValue('picked', pressed ? '' : `${r}.${c}`));
}
