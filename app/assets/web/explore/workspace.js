// @ts-check
// Explore as a whole: keeps what is chosen, and tells its parts.

import { REACHED, element, reasonOf } from '../dom.js';
import { and, histogram } from '../map/mask.js';
import { BoardView } from './board.js';
import { colouring, needsCertainty } from './colouring.js';
import { drawnImages } from './drawn.js';
import { DropZone } from './drop.js';
import { EditBar } from './edit.js';
import { readLayer } from './columns.js';
import { Loading } from './loading.js';
import { MapView } from './map_view.js';
import { Panel } from './panel.js';
import { imageOf } from './prototypes.js';
import { conditionsMask, lassoText } from './selection.js';
import { Turns, kOf, pickedPrototype, prototypePoint } from './state.js';
import { TimelineView } from './timeline.js';
import { Toolbar } from './toolbar.js';

/** @typedef {import('./state.js').WorkspaceData} WorkspaceData */
/** @typedef {import('./state.js').Address} Address */
/** @typedef {import('./columns.js').Layer} Layer */
/** @typedef {import('../map/data.js').Cloud} Cloud */
/** @typedef {{ place: [number, number], url: string, lines: number[] } | null} Placed a picture on the map */

/**
 * @typedef {object} Hooks
 * @property {(told: Address & { k: number | null, turn: number }) => void} tell Python of a new address
 * @property {(target: { page: string, query: Record<string, string> }) => void} open another page
 */

const REST = 350; // milliseconds after which a choice is told

export class Workspace {
  /** @param {import('./transport.js').Transport} transport */
  constructor(transport) {
    this.loading = new Loading(transport);
    this.base = '';
    /** @type {WorkspaceData | null} */
    this.data = null;
    /** @type {Hooks | null} */
    this.hooks = null;
    /** @type {Address | null} */
    this.address = null;
    this.turns = new Turns();
    this.resting = 0;
    this.waiting = 0;
    this.source = ''; // of the prototypes that are shown, or waited for
    /** @type {number | null} */
    this.released = null; // where the timeline was let go, until Python knows
    /** @type {Placed} */
    this.placed = null;
    /** @type {Layer | null} */
    this.unsaved = null; // after edits of the prototypes that are shown
    /** @type {import('./columns.js').Certainty | null} */
    this.lastCertainty = null; // its colours stay until those of the next prototypes are here
    this.isSplitShown = false; // whether the panel knows which prototypes split by the last step
    this.isUsed = false; // whether somebody has reached for it

    this.root = element('div', { class: 'kx-explore', 'aria-busy': 'true' });
    for (const kind of REACHED) this.root.addEventListener(kind, () => this.use(), { once: true, passive: true });
    const part = (/** @type {string} */ name) => element('div', { class: `kx-explore-${name}` }, this.root);
    const change = (/** @type {Partial<Address>} */ changed) => this.change(changed);
    const open = (/** @type {{ page: string, query: Record<string, string> }} */ target) => this.hooks?.open(target);
    const pick = (/** @type {string} */ name) => this.pick(name);
    this.status = element('p', { class: 'kx-explore-status', role: 'status' }, this.root);
    this.toolbar = new Toolbar(part('toolbar'), { change, lasso: (isLasso) => this.map?.setLasso(isLasso) });
    const place = part('map');
    this.map = new MapView(place, {
      transport,
      pick,
      change,
      lasso: (corners) => this.lasso(corners),
      view: (view) => this.change({ view }),
    });
    const editing = () => void this.edits.prepare();
    this.panel = new Panel(part('panel'), { transport, change, pick, open, editing });
    this.board = new BoardView(this.panel.boardSlot, {
      transport,
      change,
      open,
      placed: (placed) => {
        this.placed = placed;
        this.draw();
      },
    });
    this.drop = new DropZone(this.root, {
      picked: (file) => this.explain(file),
      error: (message) => {
        this.board.tell(message);
        this.draw();
      },
    });
    place.append(this.drop.button);
    this.edits = new EditBar(this.panel.editSlot, { transport, open, changed: (answer) => this.edited(answer) });
    this.timeline = new TimelineView(part('timeline'), {
      slide: (k) => void this.slide(k),
      release: (k) => this.release(k),
      open,
    });
  }

  /**
   * Shows what Python gives, unless something was chosen here since.
   *
   * @param {WorkspaceData} data
   * @param {Hooks} hooks
   */
  async update(data, hooks) {
    const isNew = !this.root.isConnected || this.base !== data.base || this.data === null;
    this.base = data.base;
    this.hooks = hooks;
    this.data = data;
    if (isNew || this.turns.counts(data.turn)) {
      this.turns.take(data.turn, data.address);
      this.address = data.address;
      this.source = data.source;
    } else if (!data.sources[this.source]) this.source = data.source; // another model's timeline, or none
    try {
      await Promise.all([this.loading.cloud(data), this.loading.layer(data, this.source)]);
      this.status.textContent = '';
      this.draw();
      this.fetchAhead();
    } catch (error) {
      this.fail(error);
    }
  }

  /** @param {unknown} error */
  fail(error) {
    this.status.textContent = `This could not be loaded: ${reasonOf(error)} Reload the page to try again.`;
  }

  /** What is shown now, null until it is here. */
  get shown() {
    const { data, address, loading, source } = this;
    if (!data || !address) return null;
    const [cloud, base] = [loading.cloudHere(data), loading.layerHere(data, source)];
    const layer = this.unsaved?.source === source ? this.unsaved : base;
    return cloud && base && layer ? { data, address, cloud, base, layer } : null;
  }

  /** Shows all of it; what is still missing is fetched, and it is shown anew. */
  draw() {
    const { shown, loading, source } = this;
    if (!shown) return;
    this.root.setAttribute('aria-busy', 'false');
    const { data, address, cloud, base, layer } = shown;
    const { model } = data;
    this.drop.setUsable(data.can.pictures);
    const attributes = loading.attributesHere(data) ?? null;
    const certainty = (layer === base && loading.certaintyHere(data, source)) || null;
    if (certainty || layer !== base || this.lastCertainty?.distance.length !== cloud.total)
      this.lastCertainty = certainty;
    if (model.attributes.length && !attributes) this.fetch(loading.attributes(data));
    const isCertaintyShown = needsCertainty(address.colour) || imageOf(cloud, address.point) >= 0;
    if (isCertaintyShown && !certainty) this.fetchAtRest(source);

    const subject = { cloud, layer, attributes, attributeNames: model.attributes };
    const selected = address.select.length ? conditionsMask(address.select, subject) : null;
    const classes = address.classes.length ? new Set(address.classes.map((name) => model.classes.indexOf(name))) : null;
    const drawn = drawnImages(cloud, layer, { show: address.show, classes, test: address.test });
    const picked = pickedPrototype(layer, address.point);
    this.map.update({
      cloud,
      layer,
      data,
      colouring: colouring(address.colour, { data, cloud, layer, certainty: this.lastCertainty, attributes }),
      shown: drawn,
      selected: selected && drawn ? and(selected, drawn) : selected,
      classes: address.classes,
      test: address.test,
      conditions: address.select,
      marked: picked >= 0 ? `prototype-${picked}` : address.point,
      focus: focusOf(layer, selected),
      picture: this.placed && { ...this.placed, lines: placesOf(layer, this.placed.lines) },
      view: address.view,
    });
    this.toolbar.update(data, address);
    this.board.update({ data, sourceKey: data.sources[source].key, source, ...pictureOf(address) });
    const before = this.layerBefore(data);
    this.isSplitShown = before !== null;
    this.panel.update({
      data,
      cloud,
      layer,
      before,
      attributes,
      certainty,
      shown: drawn,
      // a picture on its way, or what is wrong with it, is shown by the board, too
      address: { ...address, picture: address.picture || (this.board.root.hidden ? '' : 'sent') },
      selection: selected && { mask: selected, conditions: address.select },
      board: this.board,
    });
    const selectedPlace = picked >= 0 ? picked : null;
    this.edits.update({ data, source, layer, selected: selectedPlace, point: address.point });
    this.drawTimeline();
  }

  /** @param {ArrayBuffer | null} answer the layer after edits; null without any */
  edited(answer) {
    const before = this.shown;
    const p = before ? pickedPrototype(before.layer, before.address.point) : -1;
    const number = before?.layer.index?.[p] ?? p;
    this.unsaved = answer && readLayer(answer);
    const { shown } = this;
    if (shown && p >= 0) {
      // the same prototype stays picked, whatever its place is now
      const place = shown.layer.index ? shown.layer.index.indexOf(number) : number;
      this.address = { ...shown.address, point: place in shown.layer.x ? prototypePoint(shown.layer, place) : '' };
    }
    this.panel.setEditing(this.panel.isEditing || answer !== null);
    this.change({});
  }

  drawTimeline() {
    const { data } = this;
    if (!data) return;
    const { timeline } = data;
    const ready = timeline?.ks.filter((_, i) => this.loading.layerHere(data, timeline.sources[i])) ?? [];
    this.timeline.update(timeline, kOf(timeline, this.source), new Set(ready), data.can.open);
  }

  /** Somebody uses it: other numbers of prototypes are worth computing now. */
  use() {
    if (this.isUsed) return;
    this.isUsed = true;
    if (this.shown) this.fetchAhead();
  }

  fetchAhead() {
    const { data } = this;
    if (data) void this.loading.ahead(data, this.source, this.isUsed, () => this.arrived(data));
  }

  /**
   * A layer came that was fetched ahead.
   *
   * @param {WorkspaceData} data
   */
  arrived(data) {
    if (!this.isSplitShown && this.layerBefore(data)) this.draw();
    else this.drawTimeline();
  }

  /**
   * The layer of one prototype per class fewer, if it is here.
   *
   * @param {WorkspaceData} data
   */
  layerBefore(data) {
    const { timeline } = data;
    const place = timeline ? timeline.sources.indexOf(this.source) : -1;
    return (timeline && place > 0 && this.loading.layerHere(data, timeline.sources[place - 1])) || null;
  }

  /** @param {Promise<unknown>} asked */
  fetch(asked) {
    asked.then(
      () => this.draw(),
      (error) => this.fail(error),
    );
  }

  /** @param {string} source whose certainty is needed, if it still is once the timeline is at rest */
  fetchAtRest(source) {
    clearTimeout(this.waiting);
    this.waiting = window.setTimeout(() => {
      if (this.data && source === this.source) this.fetch(this.loading.certainty(this.data, source));
    }, REST);
  }

  /**
   * Something was chosen here.
   *
   * @param {Partial<Address>} part
   */
  change(part) {
    if (!this.address) return;
    if (part.picture === '') this.board.root.hidden = true;
    const opened = part.picture ? { point: '' } : {};
    const next = { ...this.address, ...opened, ...part };
    if (this.turns.isNews(next)) this.tellSoon();
    this.address = next;
    this.draw();
  }

  /**
   * @param {string} name of an image; of a prototype as in addresses, or with its index; "" for nothing
   */
  pick(name) {
    const layer = this.shown?.layer;
    const [, index] = /^prototype-(\d+)$/.exec(name) ?? [];
    this.change({ point: index && layer ? prototypePoint(layer, Number(index)) : name });
  }

  /** @param {[x: number, y: number][]} corners in the map's coordinates; none for no outline */
  lasso(corners) {
    const others = (this.address?.select ?? []).filter((condition) => !condition.startsWith('lasso:'));
    this.change({ select: corners.length ? [...others, lassoText(corners)] : others, point: '' });
  }

  /** @param {File} file */
  explain(file) {
    this.change({ point: '' });
    void this.board.send(file).finally(() => this.draw());
    this.draw();
  }

  /**
   * Shows another number of prototypes per class, while the timeline is dragged.
   *
   * @param {number} k
   */
  async slide(k) {
    const { data } = this;
    const source = data?.timeline?.sources[data.timeline.ks.indexOf(k)];
    if (!data || !source || source === this.source) return;
    this.source = source;
    this.drawTimeline();
    try {
      if (!this.loading.layerHere(data, source)) await this.loading.layer(data, source);
      if (this.source === source) this.draw();
    } catch (error) {
      this.fail(error);
    }
  }

  /** @param {number} k */
  release(k) {
    void this.slide(k);
    this.released = k;
    this.tellSoon();
  }

  tellSoon() {
    this.turns.dirty = true;
    clearTimeout(this.resting);
    this.resting = window.setTimeout(() => this.tell(), REST);
  }

  tell() {
    if (!this.address) return;
    const turn = this.turns.tell(this.address);
    this.hooks?.tell({ ...this.address, k: this.released, turn });
    this.released = null;
  }

  leave() {
    clearTimeout(this.resting);
    if (this.turns.dirty) this.tell();
    this.loading.stop();
    this.root.remove();
  }

  destroy() {
    this.leave();
    for (const part of [this.toolbar, this.map, this.panel, this.board, this.drop, this.edits, this.timeline])
      part.destroy();
  }
}

/** @param {Address} address */
const pictureOf = ({ picture, framing }) => ({ picture, framing });

/**
 * Where prototypes are in a layer after edits; those that are gone are left out.
 *
 * @param {Layer} layer
 * @param {number[]} numbers of prototypes without the edits
 */
const placesOf = ({ index }, numbers) =>
  index ? numbers.map((p) => index.indexOf(p)).filter((place) => place >= 0) : numbers;

/**
 * The prototypes that selected images are nearest to, null where nothing is selected.
 *
 * @param {Layer} layer
 * @param {Uint8Array | null} selected
 * @returns {number[] | null}
 */
export function focusOf(layer, selected) {
  if (!selected) return null;
  const counts = histogram(layer.nearest, layer.nearest.length, selected);
  return [...layer.x.keys()].filter((p) => counts[p]);
}
