// @ts-check
// The panel beside the map: prototypes by class, the selection, a card, or the board, whichever the address asks for.

import { element, say } from '../dom.js';
import { Gallery } from './gallery.js';
import { ImageCard } from './image_card.js';
import { closed, modeOf } from './panel_view.js';
import { PrototypeCard } from './prototype_card.js';
import { SelectionPanel } from './selection_panel.js';
import { TableView } from './table.js';

/** @typedef {import('./panel_view.js').PanelView} PanelView */
/** @typedef {import('./panel_view.js').Mode} Mode */

/**
 * @typedef {object} Hooks
 * @property {(part: Partial<import('./state.js').Address>) => void} change
 * @property {(name: string) => void} pick
 * @property {(target: { page: string, query: Record<string, string> }) => void} open
 * @property {import('./transport.js').Transport} transport
 * @property {() => void} editing the tools that edit prototypes are shown
 */

// what is beneath a view, which leads back to it
const TITLES = { gallery: 'Prototypes', selection: 'Selection', board: 'This looks like that' };
const DEPTHS = /** @type {const} */ ({ gallery: 0, selection: 1, board: 2, prototype: 3, image: 3 });
const REST = 120; // milliseconds after which the table follows: not at each step of a drag

export class Panel {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    const inner = { ...hooks, picture: hooks.transport.picture };
    this.hooks = hooks;
    /** @type {PanelView | null} */
    this.view = null;
    /** @type {Mode} */
    this.mode = 'gallery';
    this.point = '';
    this.asTable = false;
    this.isEditing = false;
    this.resting = 0;
    /** @type {Map<Mode, { focus: Element | null, scroll: number }>} */
    this.left = new Map(); // where each view was left
    this.root = element('section', { class: 'kx-panel', 'aria-label': 'Prototypes, selection and details' }, parent);
    this.bar = element('div', { class: 'kx-panel-bar' }, this.root);
    this.back = element('button', { type: 'button', class: 'kx-pill' }, this.bar);
    this.title = element('h2', { tabindex: '-1' }, this.bar);
    this.table = element('button', { type: 'button', class: 'kx-pill', 'aria-pressed': 'false' }, this.bar);
    this.table.textContent = 'Show as table';
    this.edit = element(
      'button',
      { type: 'button', class: 'kx-pill', text: 'Edit', 'aria-pressed': 'false' },
      this.bar,
    );
    this.edit.addEventListener('click', () => this.setEditing(!this.isEditing));
    this.body = element('div', { class: 'kx-panel-body' }, this.root);
    this.gallery = new Gallery(this.body, inner);
    this.selection = new SelectionPanel(this.body, inner);
    this.prototype = new PrototypeCard(this.body, inner);
    this.image = new ImageCard(this.body, inner);
    this.tables = new TableView(this.body, inner);
    this.boardSlot = element('div', { class: 'kx-panel-board' }, this.body);
    this.editSlot = element('div', { class: 'kx-panel-edit' }, this.root);
    this.root.addEventListener('keydown', (event) => this.press(event));
    this.back.addEventListener('click', () => this.close());
    this.table.addEventListener('click', () => {
      this.asTable = !this.asTable;
      if (this.view) this.update(this.view);
    });
  }

  /** @param {boolean} isEditing whether the tools that edit prototypes are shown */
  setEditing(isEditing) {
    const begins = isEditing && !this.isEditing;
    this.isEditing = isEditing;
    if (this.view) this.update(this.view);
    if (begins) this.hooks.editing();
  }

  /** @param {PanelView} view */
  update(view) {
    const mode = modeOf(view);
    const { point } = view.address;
    const isNew = mode !== this.mode || (DEPTHS[mode] === DEPTHS.image && point !== this.point);
    if (isNew) this.leave();
    const from = this.mode;
    this.view = view;
    this.mode = mode;
    this.point = point;
    this.show(view);
    if (isNew) this.arrive(from);
  }

  destroy() {
    clearTimeout(this.resting);
    this.gallery.destroy();
    this.root.remove();
  }

  /** @param {PanelView} view */
  show(view) {
    const { mode } = this;
    const isList = mode === 'gallery' || mode === 'selection';
    const asTable = this.asTable && isList;
    this.back.hidden = mode === 'gallery';
    say(this.back, `← ${TITLES[this.beneath(view)]}`);
    say(this.title, mode === 'gallery' || mode === 'board' ? TITLES[mode] : '');
    this.table.hidden = !isList;
    this.table.setAttribute('aria-pressed', String(asTable));
    this.gallery.root.hidden = mode !== 'gallery' || asTable;
    this.selection.root.hidden = mode !== 'selection' || asTable;
    this.prototype.root.hidden = mode !== 'prototype';
    this.image.root.hidden = mode !== 'image';
    this.boardSlot.hidden = mode !== 'board';
    this.tables.root.hidden = !asTable;
    const canEdit =
      view.data.can.edits && view.data.model.by === 'KMEx' && ['gallery', 'prototype', 'image'].includes(mode);
    this.edit.hidden = !canEdit;
    this.edit.setAttribute('aria-pressed', String(this.isEditing));
    this.editSlot.hidden = !canEdit || !this.isEditing;
    clearTimeout(this.resting);
    if (asTable)
      this.resting = window.setTimeout(() => this.tables.update(view), this.tables.root.isConnected ? REST : 0);
    else if (mode === 'gallery') this.gallery.update(view);
    else if (mode === 'selection') this.selection.update(view);
    else if (mode === 'prototype') this.prototype.update(view);
    else if (mode === 'image') this.image.update(view);
  }

  /**
   * What is beneath the view on top.
   *
   * @param {PanelView} view
   */
  beneath(view) {
    const address = { ...view.address, ...closed(this.mode) };
    const below = modeOf({ ...view, address, selection: this.mode === 'selection' ? null : view.selection });
    return below === 'prototype' || below === 'image' ? 'gallery' : below; // closing a card takes what is picked away
  }

  close() {
    this.hooks.change(closed(this.mode));
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    if (event.key !== 'Escape' || this.mode === 'gallery' || event.defaultPrevented) return;
    event.preventDefault();
    event.stopPropagation();
    this.close();
  }

  /** Remembers where the view that is on top now is left. */
  leave() {
    const { activeElement } = document;
    const focus = activeElement && this.root.contains(activeElement) ? activeElement : null;
    this.left.set(this.mode, { focus, scroll: this.body.scrollTop });
  }

  /**
   * Takes the focus, if it is in the panel, to the view that is on top now: back to where it was, or to its title.
   *
   * @param {Mode} from the view that was on top
   */
  arrive(from) {
    const wasHere = this.left.get(from)?.focus;
    const isBack = DEPTHS[this.mode] < DEPTHS[from];
    const before = isBack ? this.left.get(this.mode) : undefined;
    this.body.scrollTop = before?.scroll ?? 0;
    if (!wasHere) return;
    const target = before?.focus;
    if (target instanceof HTMLElement && target.isConnected && target.offsetParent) target.focus();
    else this.titleOfView().focus({ preventScroll: true });
  }

  titleOfView() {
    const { prototype, image, selection } = this;
    const titles = { prototype, image, selection, gallery: this, board: this };
    return titles[this.mode].title;
  }
}
