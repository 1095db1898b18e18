// @ts-check
// Edits of prototypes: buttons for the one that is picked, undo and redo, what edits did to predictions, and saving.

import { element, reasonOf, say } from '../dom.js';
import { readColumns, readLayer } from './columns.js';
import { EditForm } from './edit_form.js';
import { History, hiddenAfter, kept, numbered, scoreLines, storageKey, words } from './operations.js';

/** @typedef {import('./operations.js').Operation} Operation */
/** @typedef {import('./operations.js').Scores} Scores */
/** @typedef {import('./columns.js').Layer} Layer */
/** @typedef {import('./state.js').WorkspaceData} WorkspaceData */

/**
 * @typedef {object} Hooks
 * @property {import('./transport.js').Transport} transport
 * @property {(layer: ArrayBuffer | null) => void} changed the layer after the edits; null without any
 * @property {(target: { page: string, query: Record<string, string> }) => void} open
 */

/**
 * @typedef {object} EditState
 * @property {WorkspaceData} data
 * @property {string} source what is edited
 * @property {Layer} layer that is shown, with the edits
 * @property {number | null} selected the place of a prototype in the layer
 * @property {string} point what is picked
 */

const BUTTONS = /** @type {const} */ ([
  ['hide', 'Hide'],
  ['move', 'Move to…'],
  ['merge', 'Merge…'],
  ['split', 'Split'],
  ['name', 'Name…'],
  ['note', 'Note…'],
]);

export class EditBar {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    this.history = new History();
    /** @type {Operation[]} */
    this.accepted = []; // what the server has last made a layer of
    this.key = '';
    this.asking = 0; // a later answer overtakes
    /** @type {EditState | null} */
    this.state = null;
    /** @type {Scores | null} */
    this.scores = null;
    /** @type {number[]} */
    this.index = []; // the number of each prototype of the layer
    /** @type {string[]} */
    this.empty = []; // classes without prototypes
    /** @type {Map<number, string>} */
    this.titles = new Map(); // what prototypes were called when they were first seen
    /** @type {number | null} */
    this.merging = null; // the number of the prototype that waits for another one
    this.root = element('section', { class: 'kx-edit', 'aria-label': 'Edit prototypes' }, parent);
    this.bar = element('div', { class: 'kx-edit-bar', role: 'group', 'aria-label': 'Edit' }, this.root);
    this.buttons = new Map(
      BUTTONS.map(([op, text]) => [/** @type {string} */ (op), this.button(text, () => this.start(op))]),
    );
    this.add = this.button('Add image…', () => this.start('add'));
    this.undo = this.button('Undo', () => this.step('undo'), 'Ctrl+Z');
    this.redo = this.button('Redo', () => this.step('redo'), 'Ctrl+Shift+Z');
    this.saving = this.button('Save as version…', () => this.start('save'));
    this.form = new EditForm(
      this.root,
      (values) => this.filled(values),
      () => this.stop(),
    );
    this.hint = element('p', { class: 'kx-edit-hint' }, this.root);
    this.error = element('p', { class: 'kx-edit-error', role: 'alert' }, this.root);
    this.status = element('p', { class: 'kx-edit-status', role: 'status' }, this.root);
    this.table = element('table', { class: 'kx-edit-scores' }, this.root);
    this.changes = element('details', { class: 'kx-edit-changes' }, this.root);
    this.summary = element('summary', {}, this.changes);
    this.list = element('ol', {}, this.changes);
    this.hidden = element('div', { class: 'kx-edit-hidden' }, this.changes);
    this.pressed = (/** @type {KeyboardEvent} */ event) => this.press(event);
    document.addEventListener('keydown', this.pressed);
  }

  /**
   * @param {string} text
   * @param {() => void} click
   * @param {string} [title]
   */
  button(text, click, title = '') {
    const made = element('button', { type: 'button', class: 'kx-pill', text, ...(title && { title }) }, this.bar);
    made.addEventListener('click', click);
    return made;
  }

  /** @param {EditState} state */
  update(state) {
    this.state = state;
    this.root.hidden = !state.data.can.edits || state.source === 'own';
    if (!state.data.can.edits || state.source === 'own') return;
    const key = storageKey(state.data.model.name, state.source);
    if (key !== this.key) {
      this.key = key;
      this.restore();
    }
    this.index = state.layer.index ?? state.layer.x.map((_, p) => p);
    this.index.forEach((p, place) => this.titles.has(p) || this.titles.set(p, this.title(place)));
    if (this.merging !== null) this.mergeWith(state.selected);
    this.draw();
  }

  /** Edits that were made before the page was reloaded. */
  restore() {
    const { operations, titles } = kept(sessionStorage.getItem(this.key));
    this.history = new History(operations);
    this.accepted = [];
    this.titles = new Map(titles);
    this.scores = null;
    this.stop();
    if (operations.length) void this.apply();
  }

  /** @param {number} place in the layer */
  title(place) {
    const { data, layer } = /** @type {EditState} */ (this.state);
    const label = layer.class[place];
    return layer.name[place] || `${data.model.classes[label]} ${Number(layer.place[place].split('.')[1]) + 1}`;
  }

  /** @param {number} p the number of a prototype */
  titleOf(p) {
    return this.titles.get(p) ?? `prototype ${p}`;
  }

  /**
   * Does an edit; prototypes are named by their places in the layer that is shown.
   *
   * @param {Operation} operation
   */
  operation(operation) {
    if (!this.state || !this.state.data.can.edits) return;
    this.doing(numbered(operation, this.index));
  }

  /** @param {Operation} operation with the numbers of prototypes */
  doing(operation) {
    this.stop();
    this.history.add(operation);
    void this.apply();
  }

  /** @param {'undo' | 'redo'} direction */
  step(direction) {
    this.stop();
    this.history[direction]();
    void this.apply();
  }

  /** Lets the server prepare while people choose: the first edit is then answered as fast as the next. */
  async prepare() {
    const { state } = this;
    if (!state || this.root.hidden || this.history.done.length) return;
    try {
      await this.hooks.transport.send('edits', JSON.stringify({ base: state.source, operations: [] }));
    } catch (error) {
      say(this.error, reasonOf(error));
    }
  }

  /** Asks the server what the edits make of the prototypes; what it refuses is taken back. */
  async apply() {
    const { state } = this;
    if (!state) return;
    const turn = ++this.asking;
    const operations = this.history.done;
    this.keep();
    this.draw();
    if (!operations.length) {
      this.accepted = [];
      this.scores = null;
      this.empty = [];
      say(this.status, '');
      this.hooks.changed(null);
      this.draw();
      return;
    }
    say(this.status, 'Computing …');
    try {
      const answer = await this.hooks.transport.send('edits', JSON.stringify({ base: state.source, operations }));
      if (turn !== this.asking) return;
      const { header } = readColumns(answer);
      const classes = state.data.model.classes;
      this.scores = /** @type {Scores} */ (/** @type {unknown} */ (readLayer(answer).scores));
      this.empty = /** @type {number[]} */ (header.empty).map((label) => classes[label]);
      this.accepted = operations;
      say(this.error, '');
      say(this.status, '');
      this.hooks.changed(answer);
    } catch (error) {
      if (turn !== this.asking) return;
      this.history.revert(this.accepted);
      this.keep();
      say(this.status, '');
      say(this.error, reasonOf(error));
    }
    this.draw();
  }

  keep() {
    const { done } = this.history;
    if (!done.length) sessionStorage.removeItem(this.key);
    else sessionStorage.setItem(this.key, JSON.stringify({ operations: done, titles: [...this.titles] }));
  }

  // ---- what needs more than a click ---------------------------------------------------------------------------------

  /** @param {string} op */
  start(op) {
    const { state } = this;
    if (!state) return;
    const { data, layer, selected, point } = state;
    this.stop();
    if (op === 'save') this.form.askVersion();
    else if (op === 'add') {
      const image = Number(point.split('-')[1]);
      this.form.askClass('add', `Add training image ${image} as a prototype of`, data.model.classes, -1, { image });
    } else if (selected !== null) {
      const p = this.index[selected];
      if (op === 'hide' || op === 'split') this.doing({ op, p });
      else if (op === 'merge') {
        this.merging = p;
        this.draw();
      } else if (op === 'move') {
        this.form.askClass('move', `Move ${this.title(selected)} to`, data.model.classes, layer.class[selected], { p });
      } else
        this.form.askText(/** @type {'name' | 'note'} */ (op), layer[/** @type {'name' | 'note'} */ (op)][selected], p);
    }
  }

  stop() {
    this.merging = null;
    this.form.close();
    say(this.error, '');
  }

  /** @param {number | null} selected the place of the prototype that is picked now */
  mergeWith(selected) {
    const p = selected === null ? null : this.index[selected];
    if (p === null || p === this.merging || this.merging === null) return;
    this.doing({ op: 'merge', p: [this.merging, p] });
  }

  /** @param {Operation | { op: 'save', name: string, note: string }} values */
  filled(values) {
    if (values.op === 'save') void this.save(values.name ?? '', values.note ?? '');
    else this.doing(/** @type {Operation} */ (values));
  }

  /**
   * @param {string} name
   * @param {string} note
   */
  async save(name, note) {
    const { state } = this;
    if (!state) return;
    const body = { name, note, base: state.source, operations: this.history.done };
    say(this.error, '');
    try {
      const answer = await this.hooks.transport.send('versions', JSON.stringify(body));
      const saved = JSON.parse(new TextDecoder().decode(answer));
      sessionStorage.removeItem(this.key);
      this.stop();
      if (state.data.can.open)
        this.hooks.open({ page: 'explore', query: { model: state.data.model.name, version: saved.name } });
      else say(this.status, `Saved as version "${saved.name}".`);
    } catch (error) {
      say(this.error, reasonOf(error));
    }
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    const target = event.composedPath()[0];
    const types =
      target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
    if (types || !this.root.isConnected || this.root.hidden || !(event.ctrlKey || event.metaKey)) return;
    const key = event.key.toLowerCase();
    const direction = key === 'y' || (key === 'z' && event.shiftKey) ? 'redo' : key === 'z' ? 'undo' : null;
    if (!direction || !this.history[direction === 'undo' ? 'done' : 'undone'].length) return;
    event.preventDefault();
    this.step(direction);
  }

  // ---- what is shown ------------------------------------------------------------------------------------------------

  draw() {
    const { state, history } = this;
    if (!state) return;
    const picked = state.selected !== null;
    for (const button of this.buttons.values()) button.disabled = !picked;
    this.add.disabled = !/^train-\d+$/.test(state.point);
    this.undo.disabled = !history.done.length;
    this.redo.disabled = !history.undone.length;
    this.saving.disabled = !history.done.length;
    const merge = /** @type {HTMLButtonElement} */ (this.buttons.get('merge'));
    merge.setAttribute('aria-pressed', String(this.merging !== null));
    say(this.hint, this.hintText(picked));
    this.drawScores();
    this.drawChanges();
  }

  /** @param {boolean} picked */
  hintText(picked) {
    if (this.merging !== null)
      return `Pick the prototype to merge ${this.titleOf(this.merging)} with, of the same class.`;
    if (this.empty.length) return `No prototypes: ${this.empty.join(', ')}. No image is predicted as that.`;
    return picked || this.history.done.length ? '' : 'Pick a prototype to edit it, or a training image to add it.';
  }

  drawScores() {
    const { scores } = this;
    this.table.hidden = scores === null;
    this.table.replaceChildren();
    if (!scores) return;
    const images = (/** @type {import('./operations.js').PartScores} */ part) => part.images.toLocaleString('en');
    const head = element('tr', {}, element('thead', {}, this.table));
    for (const text of ['', `Scored (${images(scores.scored)} images)`, `Untouched (${images(scores.untouched)})`])
      element('th', { scope: 'col', text }, head);
    const body = element('tbody', {}, this.table);
    for (const { title, scored, untouched, about, beside } of scoreLines(scores)) {
      const row = element('tr', {}, body);
      const name = element('th', { scope: 'row', text: title }, row);
      if (about) element('small', { text: about }, name);
      for (const [before, after, sign] of [scored, untouched]) {
        const change = ['worse', 'same', 'better'][sign + 1];
        const cell = element('td', {}, row);
        element('span', { class: `kx-${change}`, text: `${before} → ${after}${[' ▼', '', ' ▲'][sign + 1]}` }, cell);
      }
      if (beside && row.lastElementChild) element('small', { text: beside }, row.lastElementChild);
    }
    const caption = `Edits are scored on ${scores.from === 'validation' ? 'the validation split' : scores.from}; the untouched images tell what is left of a gain elsewhere.`;
    element('caption', { text: caption }, this.table);
  }

  drawChanges() {
    const { done } = this.history;
    this.changes.hidden = !done.length;
    say(this.summary, `${done.length} ${done.length === 1 ? 'change' : 'changes'}`);
    const names = {
      classes: this.state?.data.model.classes ?? [],
      titles: (/** @type {number} */ p) => this.titleOf(p),
    };
    this.list.replaceChildren(...done.map((each) => element('li', { text: words(each, names) })));
    this.hidden.replaceChildren();
    for (const p of hiddenAfter(done)) {
      const text = `Show ${this.titleOf(p)} again`;
      element('button', { type: 'button', class: 'kx-pill', text }, this.hidden).addEventListener('click', () =>
        this.doing({ op: 'show', p }),
      );
    }
  }

  destroy() {
    document.removeEventListener('keydown', this.pressed);
    this.root.remove();
  }
}
