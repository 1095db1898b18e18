// @ts-check
// The columns that are shown: each is fetched once, by an address that always means the same.

import { readCloud } from '../map/data.js';
import { readAttributes, readCertainty, readLayer } from './columns.js';
import { nearestFirst } from './state.js';

/** @typedef {import('./state.js').WorkspaceData} WorkspaceData */
/** @typedef {import('./columns.js').Layer} Layer */
/** @typedef {import('../map/data.js').Cloud} Cloud */

/** What has been fetched, and what is on its way. */
export class Loading {
  /** @param {import('./transport.js').Transport} transport */
  constructor(transport) {
    this.transport = transport;
    /** @type {Map<string, Promise<unknown>>} */
    this.asked = new Map();
    /** @type {Map<string, unknown>} */
    this.here = new Map();
    this.turn = 0; // of `ahead`: a newer one overtakes
  }

  /**
   * @template Read
   * @param {string} address
   * @param {(buffer: ArrayBuffer) => Read} read
   * @returns {Promise<Read>}
   */
  get(address, read) {
    let asked = /** @type {Promise<Read> | undefined} */ (this.asked.get(address));
    if (!asked) {
      asked = this.transport.bytes(address).then(read);
      this.asked.set(address, asked);
      asked.then(
        (content) => this.here.set(address, content),
        () => this.asked.delete(address), // to be asked again
      );
    }
    return asked;
  }

  /**
   * @param {WorkspaceData} data
   * @returns {Promise<Cloud>}
   */
  cloud({ cloud: url, model: { train, test, numbers } }) {
    return this.get(url, (buffer) => readCloud({ url, train, test, numbers }, buffer));
  }

  /** @param {WorkspaceData} data @returns {Cloud | undefined} */
  cloudHere({ cloud }) {
    return /** @type {Cloud | undefined} */ (this.here.get(cloud));
  }

  /**
   * @param {WorkspaceData} data
   * @param {string} source
   * @returns {Promise<Layer>}
   */
  layer({ sources }, source) {
    const addresses = sources[source];
    if (!addresses) return Promise.reject(new Error('These prototypes are not here.'));
    return this.get(addresses.layer, readLayer);
  }

  /** @param {WorkspaceData} data @param {string} source @returns {Layer | undefined} */
  layerHere({ sources }, source) {
    return /** @type {Layer | undefined} */ (this.here.get(sources[source]?.layer ?? ''));
  }

  /** @param {WorkspaceData} data @param {string} source */
  certainty({ sources, model }, source) {
    return this.get(sources[source].certainty, (buffer) => readCertainty(buffer, model.train + model.test));
  }

  /** @param {WorkspaceData} data @param {string} source */
  certaintyHere({ sources }, source) {
    const content = this.here.get(sources[source]?.certainty ?? '');
    return /** @type {import('./columns.js').Certainty | undefined} */ (content);
  }

  /** @param {WorkspaceData} data */
  attributes({ model }) {
    const { attributes, train, test } = model;
    return this.get(attributesAddress(model), (buffer) => readAttributes(buffer, attributes.length, train + test));
  }

  /** @param {WorkspaceData} data */
  attributesHere({ model }) {
    const content = this.here.get(attributesAddress(model));
    return /** @type {import('./columns.js').Attributes | undefined} */ (content);
  }

  /**
   * Fetches the layers of the timeline, the nearest number first, one at a time: each may be computed for the first
   * time.
   *
   * @param {WorkspaceData} data
   * @param {string} source
   * @param {boolean} isUsed whether somebody uses the map: before, nothing is computed ahead
   * @param {() => void} came called after each
   */
  async ahead(data, source, isUsed, came) {
    const turn = ++this.turn;
    for (const next of data.timeline ? nearestFirst(data.timeline, source) : []) {
      if (turn !== this.turn) return;
      if (this.layerHere(data, next) || (!isUsed && data.unconverted.includes(next))) continue;
      try {
        await this.layer(data, next);
      } catch {
        continue; // asked again, and the reason told, when it is to be shown
      }
      if (turn === this.turn) came();
    }
  }

  stop() {
    this.turn += 1;
  }
}

/** @param {import('./state.js').Model} model */
const attributesAddress = ({ state }) => `attributes/${state}.bin`;
