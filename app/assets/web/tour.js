// @ts-check
// The guided tour: a card beside each part of the page in turn, and a ring around that part. It covers nothing else: the
// page can be used meanwhile.

import { element } from './dom.js';
import { cardPlace, ringBox } from './tour/place.js';

/**
 * @typedef {{ selector: string, title: string, text: string }} Step
 * @typedef {{ asked: number, steps: Step[] }} TourData `asked`: how often the tour was asked for elsewhere
 * @typedef {import('./dom.js').Component<TourData>} TourComponent
 */

const CLOSED = 'kmex-tour-closed';

/** @type {WeakMap<HTMLElement, Tour>} */
const tours = new WeakMap();
/** How often the tour was asked for when it was last begun: a page that is shown anew does not begin it again. */
let begun = 0;

/**
 * @param {TourComponent} component
 * @returns {Promise<() => void>} what takes the tour off the page
 */
export async function show(component) {
  const { parentElement, data } = component;
  const tour = tours.get(parentElement) ?? new Tour(parentElement);
  tours.set(parentElement, tour);
  tour.update(data.steps);
  if (data.asked > begun) {
    begun = data.asked;
    tour.begin();
  } else if (!isClosed()) tour.invite();
  return () => {
    tours.get(parentElement)?.remove();
    tours.delete(parentElement);
  };
}

/** Whether somebody has closed the tour in this browser. */
function isClosed() {
  try {
    return localStorage.getItem(CLOSED) !== null;
  } catch {
    return true; // a browser that keeps nothing would offer the tour on every visit
  }
}

function keepClosed() {
  try {
    localStorage.setItem(CLOSED, new Date().toISOString().slice(0, 10));
  } catch {
    // it is offered again in the next visit
  }
}

class Tour {
  /** @param {HTMLElement} parent */
  constructor(parent) {
    /** @type {Step[]} */
    this.steps = [];
    this.step = -1; // -1: the invitation
    this.root = element('div', { class: 'kx-tour' }, parent);
    this.start = button('kx-tour-start', 'Tour', this.root);
    this.start.title = 'Guided tour of this page';
    this.start.addEventListener('click', () => this.begin());
    // in the browser's top layer, so that nothing of the page is above it
    this.layer = element('div', { class: 'kx-tour-layer', popover: 'manual' }, this.root);
    this.ring = element('div', { class: 'kx-tour-ring' }, this.layer);
    this.card = element(
      'div',
      { class: 'kx-tour-card', role: 'dialog', 'aria-label': 'Guided tour', tabindex: '-1' },
      this.layer,
    );
    const head = element('div', { class: 'kx-tour-head' }, this.card);
    this.title = element('strong', {}, head);
    this.count = element('span', { class: 'kx-tour-count' }, head);
    this.text = element('p', { 'aria-live': 'polite' }, this.card);
    const row = element('div', { class: 'kx-tour-row' }, this.card);
    this.close = button('kx-tour-button', 'Close', row);
    this.back = button('kx-tour-button', 'Back', row);
    this.next = button('kx-tour-button kx-tour-next', 'Next', row);
    this.close.addEventListener('click', () => this.end());
    this.back.addEventListener('click', () => this.go(this.step - 1));
    this.next.addEventListener('click', () => this.go(this.step + 1));
    this.card.addEventListener('keydown', (event) => this.key(event));
    this.follow = () => this.place();
    this.open = false;
  }

  /** @param {Step[]} steps */
  update(steps) {
    this.steps = steps;
  }

  /** Offers the tour: the card alone, which takes the focus from nobody. */
  invite() {
    if (this.open) return;
    this.step = -1;
    this.show();
    this.fill();
  }

  /** Shows the first step. */
  begin() {
    this.show();
    this.go(0);
  }

  /** @param {number} step one behind the last ends the tour */
  go(step) {
    if (step >= this.steps.length) {
      this.end();
      return;
    }
    this.step = Math.max(0, step);
    const target = this.target();
    if (target) target.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    this.fill();
    this.next.focus({ preventScroll: true });
  }

  /** Closes the tour for good: it is not offered again, and begins again with its button. */
  end() {
    keepClosed();
    this.hide();
    this.start.focus({ preventScroll: true });
  }

  show() {
    if (this.open) return;
    this.open = true;
    if (this.layer.showPopover) this.layer.showPopover();
    addEventListener('resize', this.follow);
    addEventListener('scroll', this.follow, true);
    this.timer = setInterval(this.follow, 500); // what is drawn later moves what is there
  }

  hide() {
    this.open = false;
    if (this.layer.hidePopover) this.layer.hidePopover();
    removeEventListener('resize', this.follow);
    removeEventListener('scroll', this.follow, true);
    clearInterval(this.timer);
  }

  remove() {
    if (this.open) this.hide();
    this.root.remove();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === 'Escape') this.end();
    else if (event.key === 'ArrowRight' && this.step >= 0) this.go(this.step + 1);
    else if (event.key === 'ArrowLeft' && this.step > 0) this.go(this.step - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** What the step is about, if it is on the page. */
  target() {
    const step = this.steps[this.step];
    const found = step ? document.querySelector(step.selector) : null;
    return found && found.getClientRects().length ? found : null;
  }

  /** Writes the card. */
  fill() {
    const step = this.steps[this.step];
    const last = this.step === this.steps.length - 1;
    this.title.textContent = step ? step.title : 'New here?';
    this.count.textContent = step ? `${this.step + 1} of ${this.steps.length}` : '';
    this.text.textContent = step ? step.text : 'A tour of this page takes 60 seconds.';
    this.close.textContent = step ? 'Close' : 'No, thanks';
    this.close.hidden = last;
    this.back.hidden = this.step < 1;
    this.next.textContent = step ? (last ? 'Done' : 'Next') : 'Start';
    this.place();
  }

  /** Puts card and ring where they belong now. */
  place() {
    if (!this.open) return;
    const view = { width: innerWidth, height: innerHeight };
    const target = this.target()?.getBoundingClientRect() ?? null;
    const place = cardPlace(target, { width: this.card.offsetWidth, height: this.card.offsetHeight }, view);
    this.card.style.left = `${place.left}px`;
    this.card.style.top = `${place.top}px`;
    this.ring.hidden = target === null;
    if (!target) return;
    for (const [side, length] of Object.entries(ringBox(target, view)))
      this.ring.style.setProperty(side, `${length}px`);
  }
}

/**
 * @param {string} className
 * @param {string} text
 * @param {Element} parent
 */
function button(className, text, parent) {
  return element('button', { type: 'button', class: className, text }, parent);
}
