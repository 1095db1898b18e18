// @ts-check
// The tiles that are here, and those that are on their way: a bounded number of them.

import { readTile } from './tile.js';

/** @typedef {import('./tile.js').Address} Address */
/** @typedef {import('./tile.js').Tile} Tile */

const MOST = 96; // tiles that are held
const AT_ONCE = 6; // that are on their way

/** @param {Address} address */
export const nameOf = ({ level, column, row }) => `${level}/${column}-${row}`;

export class TileStore {
  /**
   * @param {string} base the address of the tiles
   * @param {number[][]} present for each level the tiles that there are, as row · 2^level + column
   * @param {(error: string) => void} changed is told that a tile has come, or why it cannot
   * @param {(address: string, options: { signal: AbortSignal }) => Promise<Response>} [ask]
   */
  constructor(base, present, changed, ask = (address, options) => fetch(address, options)) {
    this.base = base;
    this.present = present.map((tiles) => new Set(tiles));
    this.changed = changed;
    this.ask = ask;
    /** @type {Map<string, Tile>} */
    this.tiles = new Map(); // the last used is the last
    /** @type {Map<string, AbortController>} */
    this.coming = new Map();
    /** @type {Set<string>} */
    this.failed = new Set();
  }

  /** @param {Address} address */
  has({ level, column, row }) {
    return this.present[level]?.has(row * 2 ** level + column) ?? false;
  }

  /**
   * A tile that is here, null for one that is not.
   *
   * @param {Address} address
   */
  get(address) {
    const name = nameOf(address);
    const tile = this.tiles.get(name);
    if (!tile) return null;
    this.tiles.delete(name);
    this.tiles.set(name, tile);
    return tile;
  }

  /**
   * Asks for tiles, the first first, and no longer for others.
   *
   * @param {Address[]} addresses
   */
  want(addresses) {
    const names = addresses.filter((address) => this.has(address)).map(nameOf);
    for (const [name, control] of this.coming) {
      if (names.includes(name)) continue;
      control.abort();
      this.coming.delete(name);
    }
    for (const name of names) {
      if (this.coming.size >= AT_ONCE) return;
      if (!this.tiles.has(name) && !this.coming.has(name) && !this.failed.has(name)) void this.fetch(name);
    }
  }

  /** @param {string} name */
  async fetch(name) {
    const control = new AbortController();
    this.coming.set(name, control);
    let error = '';
    try {
      const answer = await this.ask(`${this.base}${name}.tile`, { signal: control.signal });
      if (!answer.ok) throw new RangeError(await answer.text());
      this.tiles.set(name, readTile(await answer.arrayBuffer()));
      for (const oldest of [...this.tiles.keys()].slice(0, -MOST)) this.tiles.delete(oldest);
    } catch (reason) {
      if (control.signal.aborted) return;
      this.failed.add(name);
      error = 'Part of the map cannot be shown: the server did not answer, or a tile is damaged.';
    }
    this.coming.delete(name);
    this.changed(error);
  }

  destroy() {
    for (const control of this.coming.values()) control.abort();
    this.coming.clear();
  }
}
