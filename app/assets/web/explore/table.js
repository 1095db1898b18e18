// @ts-check
// The equivalent of map and panel as a table: prototypes, and the images that are selected or shown.

import { element, fit, say, set } from '../dom.js';
import { count } from '../map/data.js';
import { columnsOfImages, columnsOfPrototypes, shownImages, shownPrototypes, sorted } from './table_rows.js';

/** @typedef {import('./panel_view.js').PanelView} PanelView */
/** @typedef {import('./table_rows.js').Column} Column */

const PAGE = 200; // rows

export class TableView {
  /**
   * @param {HTMLElement} parent
   * @param {{ pick: (name: string) => void }} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    this.root = element('div', { class: 'kx-tables' }, parent);
    this.prototypes = new Table(this.root, 'Prototypes', hooks);
    this.images = new Table(this.root, 'Images', hooks);
  }

  /** @param {PanelView} view */
  update(view) {
    const what = view.selection ? 'selected' : 'shown on the map';
    const prototypes = shownPrototypes(view);
    const images = shownImages(view);
    this.prototypes.update(columnsOfPrototypes(view), prototypes, `${count(prototypes.length)} prototypes`);
    this.images.update(columnsOfImages(view), images, `${count(images.length)} images, ${what}`);
    const first = view.selection ? this.images : this.prototypes;
    if (this.root.firstChild !== first.root) this.root.prepend(first.root);
  }
}

class Table {
  /**
   * @param {HTMLElement} parent
   * @param {string} name
   * @param {{ pick: (name: string) => void }} hooks
   */
  constructor(parent, name, hooks) {
    this.hooks = hooks;
    /** @type {Column[]} */
    this.columns = [];
    /** @type {number[]} */
    this.rows = [];
    this.by = ''; // title of the column that it is sorted by
    this.down = false;
    this.page = 0;
    this.root = element('section', {}, parent);
    this.title = element('h3', {}, this.root);
    const frame = { class: 'kx-data', tabindex: '0', role: 'region', 'aria-label': name };
    this.table = element('table', {}, element('div', frame, this.root));
    this.head = element('tr', {}, element('thead', {}, this.table));
    this.body = element('tbody', {}, this.table);
    /** @type {Head[]} */
    this.heads = [];
    /** @type {Row[]} */
    this.lines = [];
    this.pages = element('div', { class: 'kx-pills' }, this.root);
    this.previous = element('button', { type: 'button', class: 'kx-pill', text: 'Previous' }, this.pages);
    this.where = element('span', { role: 'status' }, this.pages);
    this.next = element('button', { type: 'button', class: 'kx-pill', text: 'Next' }, this.pages);
    this.previous.addEventListener('click', () => this.turn(-1));
    this.next.addEventListener('click', () => this.turn(1));
  }

  /**
   * @param {Column[]} columns
   * @param {number[]} rows
   * @param {string} title
   */
  update(columns, rows, title) {
    if (rows.length !== this.rows.length) this.page = 0;
    this.columns = columns;
    this.rows = rows;
    say(this.title, title);
    this.draw();
  }

  draw() {
    const { columns } = this;
    const by = columns.find((column) => column.title === this.by);
    const rows = by ? sorted(this.rows, by, this.down) : this.rows;
    const first = this.page * PAGE;
    const shown = rows.slice(first, first + PAGE);
    fit(this.heads, columns.length, () => new Head(this.head, (title) => this.sort(title)));
    this.heads.forEach((head, c) => {
      const { title } = columns[c];
      head.fill(title, title !== this.by ? 'none' : this.down ? 'descending' : 'ascending');
      const isNumber = c > 0 && rows.length > 0 && typeof columns[c].value(rows[0]) === 'number';
      head.root.classList.toggle('kx-cell-value', isNumber);
    });
    fit(this.lines, shown.length, () => new Row(this.body, this.hooks.pick));
    this.lines.forEach((line, i) => line.fill(columns, shown[i]));
    this.pages.hidden = this.rows.length <= PAGE;
    say(this.where, `${count(first + 1)} to ${count(first + shown.length)} of ${count(rows.length)}`);
    this.previous.disabled = this.page === 0;
    this.next.disabled = first + PAGE >= rows.length;
  }

  /** @param {string} title */
  sort(title) {
    this.down = this.by === title && !this.down;
    this.by = title;
    this.page = 0;
    this.draw();
  }

  /** @param {number} by */
  turn(by) {
    this.page += by;
    this.draw();
  }
}

class Head {
  /**
   * @param {HTMLElement} parent
   * @param {(title: string) => void} sort
   */
  constructor(parent, sort) {
    this.root = element('th', { scope: 'col' }, parent);
    this.button = element('button', { type: 'button' }, this.root);
    this.button.addEventListener('click', () => sort(this.title));
    this.title = '';
  }

  /**
   * @param {string} title
   * @param {'none' | 'ascending' | 'descending'} order
   */
  fill(title, order) {
    this.title = title;
    say(this.button, title + { none: '', ascending: ' ↑', descending: ' ↓' }[order]);
    set(this.root, 'aria-sort', order);
  }
}

class Row {
  /**
   * @param {HTMLElement} parent
   * @param {(name: string) => void} pick
   */
  constructor(parent, pick) {
    this.point = '';
    this.root = element('tr', {}, parent);
    this.name = element('button', { type: 'button' }, element('th', { scope: 'row' }, this.root));
    /** @type {{ root: HTMLTableCellElement }[]} */
    this.cells = [];
    this.root.addEventListener('click', () => pick(this.point)); // the button in it, too
  }

  /**
   * @param {Column[]} columns the first names the row
   * @param {number} row
   */
  fill(columns, row) {
    const [name, ...rest] = columns;
    this.point = name.point?.(row) ?? '';
    say(this.name, name.text(row));
    fit(this.cells, rest.length, () => ({ root: element('td', {}, this.root) }));
    rest.forEach((column, c) => {
      say(this.cells[c].root, column.text(row));
      this.cells[c].root.classList.toggle('kx-cell-value', typeof column.value(row) === 'number');
    });
  }
}
