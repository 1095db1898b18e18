// @ts-check
// Explore as a whole: fetches what is shown, keeps what is chosen, and tells its parts.

import { element } from '../dom.js';
import { readCloud } from '../map/data.js';
import { readLayer } from './columns.js';
import { kOf, nearestFirst, sameAddress } from './state.js';

/** @typedef {import('./state.js').WorkspaceData} WorkspaceData */
/** @typedef {import('./state.js').Address} Address */
/** @typedef {import('./columns.js').Layer} Layer */
/** @typedef {import('./columns.js').Attributes} Attributes */
/** @typedef {import('./columns.js').Certainty} Certainty */
/** @typedef {import('../map/data.js').Cloud} Cloud */

/**
 * @typedef {object} Hooks
 * @property {(told: Address & { k: number | null, turn: number }) => void} tell Python of a new address
 * @property {(target: object) => void} open another page
 */

const REST = 350; // milliseconds after which a choice is told

export class Workspace {
  /** @param {import('./transport.js').Transport} transport */
  constructor(transport) {
    this.transport = transport;
    this.root = element('div', { class: 'kx-explore' });
    this.status = element('div', { class: 'kx-explore-status', role: 'status' }, this.root);
    this.base = '';
    /** @type {WorkspaceData | null} */
    this.data = null;
    /** @type {Hooks | null} */
    this.hooks = null;
    /** @type {Address | null} */
    this.address = null;
    this.turn = 0; // of what Python was told
    this.dirty = false; // whether Python does not know all yet
    this.resting = 0;
    this.source = ''; // of the prototypes that are shown, or waited for
    /** @type {number | null} */
    this.released = null; // where the timeline was let go, until Python knows
    /** @type {Cloud | null} */
    this.cloud = null;
    /** @type {Map<string, Layer>} */
    this.layers = new Map(); // by address
    /** @type {Map<string, Promise<Layer>>} */
    this.asked = new Map();
    this.ahead = 0; // of `fetchAhead`: a newer one overtakes
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
    if (this.cloud && this.cloud.url !== data.cloud) this.cloud = null;
    this.data = data;
    if (isNew || (data.turn === this.turn && !this.dirty)) {
      this.turn = data.turn;
      this.address = data.address;
      this.source = data.source;
    }
    try {
      await Promise.all([this.loadCloud(), this.layerOf(this.source)]);
      this.status.textContent = '';
      this.draw();
      void this.fetchAhead();
    } catch (error) {
      this.fail(error);
    }
  }

  /** @param {unknown} error */
  fail(error) {
    const reason = error instanceof Error ? error.message : String(error);
    this.status.textContent = `Explore could not be loaded: ${reason} Reload the page to try again.`;
  }

  async loadCloud() {
    if (!this.data || this.cloud) return;
    const { cloud, model } = this.data;
    const buffer = await this.transport.bytes(cloud);
    this.cloud = readCloud({ url: cloud, train: model.train, test: model.test }, buffer);
  }

  /**
   * @param {string} source
   * @returns {Promise<Layer>}
   */
  layerOf(source) {
    const address = this.data?.sources[source]?.layer;
    if (!address) return Promise.reject(new Error(`There are no prototypes of ${source}.`));
    const asked = this.asked.get(address) ?? this.transport.bytes(address).then(readLayer);
    this.asked.set(address, asked);
    asked.then(
      (layer) => this.layers.set(address, layer),
      () => this.asked.delete(address), // to be asked again
    );
    return asked;
  }

  /**
   * The layer of a source, if it is here.
   *
   * @param {string} source
   * @returns {Layer | undefined}
   */
  ready(source) {
    return this.layers.get(this.data?.sources[source]?.layer ?? '');
  }

  /** Fetches the layers of the timeline, the nearest number first, one at a time. */
  async fetchAhead() {
    const { timeline } = this.data ?? {};
    if (!timeline) return;
    const turn = ++this.ahead;
    for (const source of nearestFirst(timeline, this.source)) {
      if (turn !== this.ahead || !this.root.isConnected) return;
      if (this.ready(source)) continue;
      try {
        await this.layerOf(source);
      } catch {
        return; // it is asked again, and the reason told, when it is shown
      }
      this.draw();
    }
  }

  /** Shows all of it. */
  draw() {
    const { data, cloud } = this;
    const layer = this.ready(this.source);
    if (!data || !cloud || !layer || !this.address) return;
    this.status.textContent = `${cloud.total} images, ${layer.x.length} prototypes, k ${kOf(data.timeline, this.source)}`;
  }

  /**
   * Something was chosen here.
   *
   * @param {Partial<Address>} part
   */
  change(part) {
    if (!this.address) return;
    const next = { ...this.address, ...part };
    if (sameAddress(next, this.address)) return;
    this.address = next;
    this.draw();
    this.tellSoon();
  }

  /**
   * Shows another number of prototypes per class, while the timeline is dragged.
   *
   * @param {number} k
   */
  async slide(k) {
    const { timeline } = this.data ?? {};
    const source = timeline?.sources[timeline.ks.indexOf(k)];
    if (!source || source === this.source) return;
    this.source = source;
    try {
      await this.layerOf(source);
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
    this.dirty = true;
    clearTimeout(this.resting);
    this.resting = window.setTimeout(() => this.tell(), REST);
  }

  tell() {
    if (!this.address) return;
    this.dirty = false;
    this.turn += 1;
    this.hooks?.tell({ ...this.address, k: this.released, turn: this.turn });
    this.released = null;
  }

  leave() {
    clearTimeout(this.resting);
    if (this.dirty) this.tell();
    this.ahead += 1;
    this.root.remove();
  }

  destroy() {
    this.leave();
  }
}
