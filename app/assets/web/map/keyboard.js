// @ts-check
// The map by keyboard: arrow keys go from prototype to prototype, and what each is is said.

import { panned, prototypePlace, prototypeTowards } from './geometry.js';

/** @typedef {import('./component.js').EmbeddingMap} EmbeddingMap */
/** @typedef {import('./geometry.js').Point} Point */

/** @type {Record<string, Point>} */
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const EDGE = 30; // pixels: nearer to it, the map moves

export class Keyboard {
  /** @param {EmbeddingMap} map */
  constructor(map) {
    this.map = map;
    this.cursor = -1; // the prototype it is on, −1 for none
    map.root.addEventListener('keydown', (event) => {
      if (event.target !== map.root || event.ctrlKey || event.metaKey || event.altKey) return;
      if (this.press(event.key)) event.preventDefault();
    });
    map.root.addEventListener('blur', () => this.cursor < 0 || this.put(-1));
  }

  /**
   * @param {string} key
   * @returns {boolean} whether it means something here
   */
  press(key) {
    const { map } = this;
    if (DIRECTIONS[key]) this.go(DIRECTIONS[key]);
    else if (key === '+' || key === '=') map.zoom(0.6);
    else if (key === '-' || key === '−') map.zoom(1 / 0.6);
    else if (key === '0') map.showWhole();
    else if (key === 'Enter' && this.cursor >= 0) map.hooks.pick(`prototype-${this.cursor}`);
    else if (key === 'Escape') return this.clear();
    else return false;
    return true;
  }

  clear() {
    const { map } = this;
    if (map.gestures?.giveUp()) return true;
    if (this.cursor >= 0) this.put(-1);
    else if (map.shown?.marked) map.hooks.pick('');
    else return false;
    return true;
  }

  /** @param {Point} direction */
  go(direction) {
    const { scene, frame, shown } = this.map;
    if (!scene || !shown) return;
    const { width, height } = frame.size;
    const marked = /^prototype-(\d+)$/.exec(shown.marked);
    const from = this.cursor >= 0 ? this.cursor : marked ? Number(marked[1]) : -1;
    const isThere = from >= 0 && from < scene.places.length;
    const start = /** @type {Point} */ (
      isThere ? prototypePlace(scene, from) : [(width / 2) * (1 - direction[0]), (height / 2) * (1 - direction[1])] // the edge that one comes from
    );
    const next = prototypeTowards(scene, start, direction);
    if (next >= 0) this.put(next);
  }

  /** @param {number} p −1 for none */
  put(p) {
    const { map } = this;
    this.cursor = p;
    if (!map.scene || !map.shown) return;
    map.scene.cursor = p;
    if (p >= 0) {
      this.show(p);
      map.live.textContent = map.shown.about({ prototype: p }).lines.join(', ');
    }
    map.pointer = null;
    map.hover(p < 0 ? null : { prototype: p });
    map.surface.refresh(false);
  }

  /** @param {number} p comes into sight */
  show(p) {
    const { map } = this;
    if (!map.scene) return;
    const [x, y] = prototypePlace(map.scene, p);
    const { width, height } = map.frame.size;
    const out = (/** @type {number} */ at, /** @type {number} */ most) =>
      at < EDGE || at > most - EDGE ? most / 2 - at : 0;
    const [right, down] = [out(x, width), out(y, height)];
    if (right || down) map.look(panned(map.frame, right, down));
  }

  /** Forgets where it was: there are other prototypes now. */
  drop() {
    this.cursor = -1;
  }
}
