// @ts-check
// The prototypes of each number per class: fetched once, by an address that always means the same. No DOM.

import { nearestFirst } from '../explore/state.js';

/**
 * Prototypes as columns, as app/workspace/large.py writes them.
 *
 * @typedef {object} LayerData
 * @property {number[]} listed classes whose prototypes these are
 * @property {number[]} class
 * @property {number[]} x places on the map, in −1…1; empty where they are not known
 * @property {number[]} y
 * @property {boolean[]} far
 * @property {number[]} share of the class's images, 0…1
 * @property {number[]} count
 * @property {boolean[]} ghost
 * @property {number[][]} nearest images, the exemplar first
 * @property {string[]} title
 * @property {string[]} about
 */

/**
 * @typedef {object} Layer
 * @property {LayerData} data
 * @property {import('../map/data.js').Prototypes} placed what the map shows: none where their places are not known
 */

const MOST = 128; // layers that are held

/** @type {LayerData} */
const NONE = {
  listed: [],
  class: [],
  x: [],
  y: [],
  far: [],
  share: [],
  count: [],
  ghost: [],
  nearest: [],
  title: [],
  about: [],
};

/**
 * @param {LayerData} data
 * @returns {Layer}
 */
export function layerOf(data) {
  const placed = data.x.length ? data : NONE;
  const picture = placed.nearest.map(([exemplar]) => exemplar ?? -1);
  return { data, placed: { ...placed, picture, predicted: new Uint16Array(0) } };
}

export const NO_LAYER = layerOf(NONE);

export class Layers {
  /** @param {(address: string) => Promise<unknown>} ask for the JSON of an address */
  constructor(ask) {
    this.ask = ask;
    /** @type {Map<string, Promise<Layer>>} */
    this.asked = new Map();
    /** @type {Map<string, Layer>} */
    this.known = new Map();
    this.turn = 0; // of `ahead`: a newer one overtakes
  }

  /**
   * @param {string} address
   * @returns {Promise<Layer>}
   */
  get(address) {
    let asked = this.asked.get(address);
    if (!asked) {
      asked = this.ask(address).then((data) => layerOf(/** @type {LayerData} */ (data)));
      this.asked.set(address, asked);
      asked.then(
        (layer) => this.known.set(address, layer),
        () => this.asked.delete(address), // to be asked again
      );
      for (const oldest of [...this.asked.keys()].slice(0, -MOST)) {
        this.asked.delete(oldest);
        this.known.delete(oldest);
      }
    }
    return asked;
  }

  /**
   * A layer that is here.
   *
   * @param {string} address
   */
  here(address) {
    return this.known.get(address);
  }

  /**
   * Fetches the layers of all numbers, the nearest first, one at a time.
   *
   * @param {string[]} addresses
   * @param {string} from which one
   */
  async ahead(addresses, from) {
    const turn = ++this.turn;
    for (const next of nearestFirst({ sources: addresses }, from)) {
      if (turn !== this.turn) return;
      try {
        await this.get(next);
      } catch {
        // asked again, and the reason told, when it is to be shown
      }
    }
  }

  stop() {
    this.turn += 1;
  }
}
