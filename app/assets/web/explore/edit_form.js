// @ts-check
// The small form of the edit bar: a class, a name, a note, or the name of a version.

import { element } from '../dom.js';
import { MOST_NAME, MOST_NOTE } from './operations.js';

/** @typedef {import('./operations.js').Operation} Operation */

export class EditForm {
  /**
   * @param {HTMLElement} parent
   * @param {(values: Operation | { op: 'save', name: string, note: string }) => void} filled
   * @param {() => void} cancelled
   */
  constructor(parent, filled, cancelled) {
    this.filled = filled;
    this.root = element('form', { class: 'kx-edit-form' }, parent);
    this.root.hidden = true;
    /** @type {() => Operation | { op: 'save', name: string, note: string }} */
    this.values = () => ({ op: 'save', name: '', note: '' });
    this.root.addEventListener('submit', (event) => {
      event.preventDefault();
      this.filled(this.values());
    });
    this.root.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') cancelled();
    });
    this.cancelled = cancelled;
    /** @type {Element | null} */
    this.opener = null; // what had the focus before
  }

  close() {
    if (this.root.hidden) return;
    const isFocused = this.root.contains(document.activeElement);
    this.root.hidden = true;
    this.root.replaceChildren();
    if (isFocused && this.opener instanceof HTMLElement) this.opener.focus();
  }

  /**
   * @param {'move' | 'add'} op
   * @param {string} title
   * @param {string[]} classes
   * @param {number} but the class that cannot be chosen; negative: the image's own one can, and is the first choice
   * @param {Partial<Operation>} rest of the edit
   */
  askClass(op, title, classes, but, rest) {
    const select = element('select', {}, this.field(title));
    if (but < 0) element('option', { value: '', text: 'its own class' }, select);
    classes.forEach((text, label) => {
      if (label !== but) element('option', { value: String(label), text }, select);
    });
    this.values = () => ({ op, ...rest, ...(select.value === '' ? {} : { class: Number(select.value) }) });
    this.open(op === 'move' ? 'Move' : 'Add', select);
  }

  /**
   * @param {'name' | 'note'} op
   * @param {string} before
   * @param {number} p
   */
  askText(op, before, p) {
    const field = op === 'name' ? this.line('Name', MOST_NAME) : this.area('Note');
    field.value = before;
    this.values = () => (op === 'name' ? { op, p, name: field.value } : { op, p, note: field.value });
    this.open('Keep', field);
  }

  askVersion() {
    const name = this.line('Name of the version', MOST_NAME);
    name.required = true;
    const note = this.area('Note');
    this.values = () => ({ op: 'save', name: name.value, note: note.value });
    this.open('Save', name);
  }

  /** @param {string} title */
  field(title) {
    const label = element('label', {}, this.root);
    element('span', { text: title }, label);
    return label;
  }

  /**
   * @param {string} title
   * @param {number} most
   */
  line(title, most) {
    return element('input', { type: 'text', maxlength: String(most), autocomplete: 'off' }, this.field(title));
  }

  /** @param {string} title */
  area(title) {
    return element('textarea', { maxlength: String(MOST_NOTE), rows: '2' }, this.field(title));
  }

  /**
   * @param {string} text of the button
   * @param {HTMLElement} first what gets the focus
   */
  open(text, first) {
    const buttons = element('div', {}, this.root);
    element('button', { type: 'submit', class: 'kx-pill', text }, buttons);
    const cancel = element('button', { type: 'button', class: 'kx-pill', text: 'Cancel' }, buttons);
    cancel.addEventListener('click', () => this.cancelled());
    this.opener = document.activeElement;
    this.root.hidden = false;
    first.focus();
  }
}
