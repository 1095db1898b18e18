// @ts-check
// A table whose heads, rows and cells each open the images that they are about in Explore. It scrolls inside itself; its
// heads and first column stay. One stop of the Tab key: arrow keys move within.

import { element } from './dom.js';
import { addressOf, moved } from './matrix/grid.js';

/**
 * Where a mark leads: conditions on the images that Explore selects, none where it leads nowhere.
 *
 * @typedef {string[]} Conditions
 *
 * @typedef {object} Head
 * @property {string} title
 * @property {string} note below the title
 * @property {string} picture its address below the data set's pictures, without ".png"; "" for none
 * @property {string} about for those who do not see it and as a tool tip
 * @property {boolean} upright its title runs from bottom to top
 * @property {string} group what neighbouring heads have in common, shown once above them
 * @property {string} colour of the group
 * @property {Conditions} conditions
 *
 * @typedef {object} Bar a value with its interval over the band of chance; each 0…1 of the cell's width
 * @property {number} value
 * @property {number} low
 * @property {number} high
 * @property {number} bandLow
 * @property {number} bandHigh
 * @property {number | null} beside a second value
 *
 * @typedef {object} Cell
 * @property {string} text
 * @property {string} about
 * @property {Conditions} conditions
 * @property {number} tint −1…1, how strongly it is coloured
 * @property {boolean} mark
 * @property {boolean} strong
 * @property {Bar | null} bar
 *
 * @typedef {object} Row
 * @property {string} title
 * @property {string} note
 * @property {string} about
 * @property {Conditions} conditions
 * @property {Cell[]} cells
 * @property {boolean} picked
 * @property {string} fold what its button unfolds, "" for nothing
 * @property {Row[]} rows those it unfolds
 *
 * @typedef {{ title: string, note: string, rows: Row[] }} Section
 *
 * @typedef {object} MatrixData
 * @property {string} about names the table
 * @property {string} corner the head of the first column
 * @property {string} explore the address of Explore with the selected model
 * @property {string} pictures
 * @property {boolean} pixelated
 * @property {number} height from which it scrolls, in rem
 * @property {Head[]} heads
 * @property {Section[]} sections
 *
 * @typedef {import('./dom.js').Component<MatrixData>} MatrixComponent
 */

/** @type {WeakMap<HTMLElement, Matrix>} */
const matrices = new WeakMap();

/**
 * @param {MatrixComponent} component
 * @returns {Promise<() => void>} what takes the matrix off the page
 */
export async function show(component) {
  const { parentElement } = component;
  const matrix = matrices.get(parentElement) ?? new Matrix(component);
  matrices.set(parentElement, matrix);
  matrix.update(component);
  return () => {
    matrices.get(parentElement)?.root.remove();
    matrices.delete(parentElement);
  };
}

class Matrix {
  /** @param {MatrixComponent} component */
  constructor(component) {
    this.component = component;
    this.shown = '';
    /** @type {Set<string>} titles of the rows that are unfolded */
    this.unfolded = new Set();
    this.root = element('div', { class: 'kx-matrix' }, component.parentElement);
    this.root.addEventListener('click', (event) => this.click(event));
    this.root.addEventListener('keydown', (event) => this.key(event));
    this.root.addEventListener('focusin', (event) => this.focused(event));
  }

  /** @param {MatrixComponent} component */
  update(component) {
    this.component = component;
    const shown = JSON.stringify(component.data);
    if (shown === this.shown) return;
    this.shown = shown;
    this.draw();
    const picked = this.root.querySelector('.kx-picked');
    if (picked instanceof HTMLElement) this.root.scrollTop = picked.offsetTop - this.root.clientHeight / 2;
  }

  draw() {
    const { about, pixelated, height, sections } = this.component.data;
    const { scrollLeft, scrollTop } = this.root;
    this.root.replaceChildren();
    this.root.classList.toggle('kx-smooth', !pixelated);
    this.root.style.setProperty('--h', `${height}rem`);
    const table = element('table', { role: 'grid', 'aria-label': about }, this.root);
    this.drawHeads(element('thead', {}, table));
    for (const section of sections) {
      const body = element('tbody', {}, table);
      if (section.title) this.drawTitle(body, section);
      for (const row of section.rows) this.drawRow(body, row, 1);
    }
    this.root.querySelector('a, button')?.setAttribute('tabindex', '0');
    this.root.scrollTo(scrollLeft, scrollTop);
  }

  /** @param {HTMLElement} head */
  drawHeads(head) {
    const { corner, heads, pictures } = this.component.data;
    if (heads.some(({ group }) => group)) {
      const row = element('tr', { class: 'kx-groups' }, head);
      element('td', {}, row);
      for (let i = 0; i < heads.length;) {
        const { group, colour } = heads[i];
        let end = i + 1;
        while (end < heads.length && heads[end].group === group) end += 1;
        const attributes = { colspan: String(end - i), ...(group ? { scope: 'colgroup' } : {}) };
        const cell = element(group ? 'th' : 'td', attributes, row);
        if (group) {
          element('i', { class: 'kx-swatch' }, cell).style.background = colour;
          element('span', { text: group }, cell);
        }
        i = end;
      }
    }
    const row = element('tr', {}, head);
    element('th', { scope: 'col', text: corner }, row);
    for (const { title, note, picture, about, upright, conditions } of heads) {
      const cell = element('th', { scope: 'col', ...(picture ? { class: 'kx-pictured' } : {}) }, row);
      const place = this.place(cell, conditions, about);
      if (picture) element('img', { src: `${pictures}${picture}.png`, alt: about, loading: 'lazy' }, place);
      if (title) element('span', { text: title, ...(upright ? { class: 'kx-upright' } : {}) }, place);
      if (note) element('small', { text: note }, place);
    }
  }

  /**
   * @param {HTMLElement} body
   * @param {Section} section
   */
  drawTitle(body, { title, note }) {
    const row = element('tr', { class: 'kx-section' }, body);
    const cell = element('th', { scope: 'rowgroup', colspan: String(this.component.data.heads.length + 1) }, row);
    const words = element('div', {}, cell);
    element('span', { text: title }, words);
    if (note) element('small', { text: note }, words);
  }

  /**
   * @param {HTMLElement} body
   * @param {Row} row
   * @param {number} level 1, or 2 for what a row unfolds
   */
  drawRow(body, row, level) {
    const open = this.unfolded.has(row.title);
    const line = element('tr', { class: `kx-level-${level}${row.picked ? ' kx-picked' : ''}` }, body);
    const head = element('th', { scope: 'row' }, line);
    const place = this.place(head, row.conditions, row.about);
    element('span', { text: row.title }, place);
    if (row.note) element('small', { text: row.note }, head);
    if (row.rows.length) {
      const attributes = { type: 'button', class: 'kx-fold', tabindex: '-1', 'aria-expanded': String(open) };
      const button = element('button', { ...attributes, text: `${open ? '▾' : '▸'} ${row.fold}` }, head);
      button.dataset.row = row.title;
    }
    row.cells.forEach((cell) => this.drawCell(element('td', {}, line), cell));
    if (open) row.rows.forEach((inner) => this.drawRow(body, inner, level + 1));
  }

  /**
   * @param {HTMLElement} parent
   * @param {Cell} cell
   */
  drawCell(parent, { text, about, conditions, tint, mark, strong, bar }) {
    const place = this.place(parent, conditions, about);
    if (tint) {
      parent.className = tint > 0 ? 'kx-more' : 'kx-less';
      parent.style.setProperty('--t', `${Math.round(70 * Math.abs(tint))}%`);
    }
    parent.classList.toggle('kx-strong', strong);
    if (mark) element('i', { class: 'kx-mark' }, place);
    if (bar) drawBar(place, bar);
    if (text) element('span', { text }, place);
  }

  /**
   * What a cell's content goes into: a link to Explore where it leads there.
   *
   * @param {HTMLElement} cell
   * @param {Conditions} conditions
   * @param {string} about
   */
  place(cell, conditions, about) {
    if (about) cell.title = about;
    if (!conditions.length) return cell;
    const href = addressOf(this.component.data.explore, conditions);
    return element('a', { href, tabindex: '-1', ...(about ? { 'aria-label': about } : {}) }, cell);
  }

  /** @param {MouseEvent} event */
  click(event) {
    const button = event.target instanceof Element ? event.target.closest('button') : null;
    if (button) this.fold(button.dataset.row ?? '');
  }

  /** @param {string} title of the row to fold or unfold */
  fold(title) {
    if (!this.unfolded.delete(title)) this.unfolded.add(title);
    this.draw();
    const buttons = [...this.root.querySelectorAll('button')];
    buttons.find((button) => button.dataset.row === title)?.focus();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (!(event.target instanceof HTMLElement)) return;
    const rows = [...this.root.querySelectorAll('tr')].map((row) =>
      // a row's head may have two: they are neighbours
      [...row.children].flatMap((cell) =>
        cell.querySelector('a, button') ? [...cell.querySelectorAll('a, button')] : [null],
      ),
    );
    const row = rows.findIndex((cells) => cells.includes(/** @type {HTMLElement} */ (event.target)));
    if (row < 0) return;
    const there = rows.map((cells) => cells.map((cell) => cell !== null));
    const next = moved(there, [row, rows[row].indexOf(event.target)], event.key);
    if (!next) return;
    event.preventDefault();
    const target = rows[next[0]][next[1]];
    if (target instanceof HTMLElement) target.focus();
  }

  /** @param {FocusEvent} event */
  focused(event) {
    for (const before of this.root.querySelectorAll('[tabindex="0"]')) before.setAttribute('tabindex', '-1');
    if (event.target instanceof Element) event.target.setAttribute('tabindex', '0');
  }
}

/**
 * @param {HTMLElement} parent
 * @param {Bar} bar
 */
function drawBar(parent, { value, low, high, bandLow, bandHigh, beside }) {
  const root = element('span', { class: 'kx-bar' }, parent);
  const part = (/** @type {string} */ name, /** @type {number} */ from, /** @type {number} */ to) => {
    const { style } = element('i', { class: name }, root);
    style.left = `${100 * from}%`;
    style.width = `${100 * (to - from)}%`;
  };
  part('kx-chance', bandLow, bandHigh);
  part('kx-interval', low, high);
  if (beside !== null) part('kx-beside', beside, beside);
  part('kx-value', value, value);
}
