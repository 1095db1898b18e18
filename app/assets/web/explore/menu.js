// @ts-check
// A button that opens a list below it, with a field to search in it.

import { element } from '../dom.js';

/**
 * @typedef {object} Choice
 * @property {string} text
 * @property {boolean} chosen
 * @property {() => void} choose
 */

const SEARCHED = 8; // choices from which on they can be searched
const MOST = 200; // choices that are listed; the others are found by searching

export class Menu {
  /**
   * @param {HTMLElement} parent
   * @param {string} label of the list
   * @param {boolean} many whether it stays open for another choice
   */
  constructor(parent, label, many) {
    this.many = many;
    this.root = element('div', { class: 'kx-menu' }, parent);
    this.button = element('button', { type: 'button', class: 'kx-pill', 'aria-expanded': 'false' }, this.root);
    this.panel = element('div', { class: 'kx-menu-panel', role: 'group', 'aria-label': label, hidden: '' }, this.root);
    this.search = element(
      'input',
      { type: 'search', placeholder: 'Search', 'aria-label': `Search: ${label}` },
      this.panel,
    );
    this.list = element('div', { class: 'kx-menu-list' }, this.panel);
    /** @type {Choice[]} */
    this.choices = [];
    this.button.addEventListener('click', () => this.open(this.panel.hidden));
    this.search.addEventListener('input', () => this.fill());
    this.root.addEventListener('keydown', (event) => this.press(event));
    this.root.addEventListener('focusout', (event) => {
      if (event.relatedTarget instanceof Node && !this.root.contains(event.relatedTarget)) this.open(false);
    });
    this.outside = (/** @type {PointerEvent} */ event) => {
      if (event.target instanceof Node && !this.root.contains(event.target)) this.open(false);
    };
  }

  /**
   * @param {string} text of the button
   * @param {boolean} pressed whether something is chosen
   * @param {Choice[]} choices
   */
  update(text, pressed, choices) {
    this.button.textContent = `${text} ▾`;
    this.button.setAttribute('aria-pressed', String(pressed));
    this.choices = choices;
    this.search.hidden = choices.length < SEARCHED;
    if (!this.panel.hidden) this.fill();
  }

  /** @param {boolean} isOpen */
  open(isOpen) {
    if (isOpen === !this.panel.hidden) return;
    this.panel.hidden = !isOpen;
    this.button.setAttribute('aria-expanded', String(isOpen));
    if (!isOpen) {
      document.removeEventListener('pointerdown', this.outside);
      return;
    }
    this.search.value = '';
    this.fill();
    document.addEventListener('pointerdown', this.outside);
    if (!this.search.hidden) this.search.focus();
    const box = this.panel.getBoundingClientRect();
    this.panel.style.translate = `${Math.min(0, document.documentElement.clientWidth - 8 - box.right)}px 0`;
  }

  fill() {
    const wanted = this.search.value.trim().toLocaleLowerCase();
    const found = this.choices.filter(({ text }) => text.toLocaleLowerCase().includes(wanted));
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.choice : undefined;
    this.list.replaceChildren();
    for (const { text, chosen, choose } of found.slice(0, MOST)) {
      const attributes = { type: 'button', text, 'aria-pressed': String(chosen), 'data-choice': text };
      const button = element('button', attributes, this.list);
      button.addEventListener('click', () => {
        choose();
        if (!this.many) this.close();
      });
      if (text === focused) button.focus();
    }
    if (found.length > MOST) element('p', { text: `${found.length - MOST} more: search for one` }, this.list);
    if (!found.length) element('p', { text: 'Nothing of this name' }, this.list);
  }

  close() {
    this.open(false);
    this.button.focus();
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    if (this.panel.hidden) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === 'Escape') this.close();
    else if (step) this.go(step);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {number} step to the next choice, or back */
  go(step) {
    const buttons = [...this.list.querySelectorAll('button')];
    const now = buttons.findIndex((button) => button === document.activeElement);
    buttons[Math.min(buttons.length - 1, Math.max(0, now < 0 ? 0 : now + step))]?.focus();
  }

  destroy() {
    document.removeEventListener('pointerdown', this.outside);
    this.root.remove();
  }
}
