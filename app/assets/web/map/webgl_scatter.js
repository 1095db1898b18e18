// @ts-check
// A cloud of dots in WebGL. A new colour for every dot is one buffer of four bytes a dot, so that it may change while
// something is dragged. Of a large cloud, a frame draws as many dots as it has time for: while the map moves, a picture
// of all of them that was drawn before, and a sample where that has nothing; at rest, all of them, within several frames.

import { dots as sizes } from './data.js';
import { DIRECT, areaOf, clipped, contains, dotsIn, isSameFrame, isUsable, sampled, surface } from './detail.js';
import { PALENESS, fit, nearness } from './dots.js';
import { drawingOrder } from './order.js';
import { Card, Picture } from './webgl.js';

/** @typedef {import('./data.js').Cloud} Cloud */
/** @typedef {import('./detail.js').Area} Area */
/** @typedef {import('./geometry.js').Frame} Frame */
/** @typedef {import('./dots.js').Dots} Dots */
/** @typedef {import('./dots.js').Scatter} Scatter */
/** @typedef {{ drawn: number, isDone: boolean }} Drawn */

/**
 * A picture in which dots are gathered.
 *
 * @typedef {object} Gathered
 * @property {Picture} picture
 * @property {Frame | null} frame that it is of, null for none
 * @property {number} turn of the paint
 * @property {number} done how many of the chosen dots it has
 */

const BORDER = 8; // pixels: how far a dot reaches at most
const ROOM = 0.25; // of the map's width and height, around what is seen, from which dots are chosen while it moves
const ALL = { room: Infinity, most: Infinity };
const MOVING = { room: ROOM, most: 4 }; // how much larger what they are chosen from may become, in area
const RESTING = { room: 0, most: 1.2 };

/**
 * @param {WebGL2RenderingContext} gl
 * @returns {Gathered} with nothing
 */
const gathered = (gl) => ({ picture: new Picture(gl), frame: null, turn: 0, done: 0 });

/** @implements {Scatter} */
export class WebGLScatter {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {WebGL2RenderingContext} gl
   */
  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    this.isSample = false;
    /** @type {Cloud | null} */
    this.cloud = null;
    /** @type {Dots | null} */
    this.dots = null;
    /** @type {Uint32Array} */
    this.order = new Uint32Array(0);
    // in the drawing order:
    this.places = new Float32Array(0);
    this.words = new Uint32Array(0); // what a dot looks like, in four bytes
    this.looks = new Uint8Array(0);
    this.found = new Uint32Array(0);
    this.shown = 0; // how many dots are not hidden
    this.turn = 0; // of the paint
    this.lost = (/** @type {Event} */ event) => event.preventDefault(); // asks for it back
    this.restored = () => this.restore();
    canvas.addEventListener('webglcontextlost', this.lost);
    canvas.addEventListener('webglcontextrestored', this.restored);
    this.card = new Card(gl);
    this.growing = gathered(gl);
    this.kept = gathered(gl); // has all dots of its frame, as has the next
    this.overview = gathered(gl); // of all of the map
    /** @type {(import('./detail.js').Chosen & { area: Area, turn: number }) | null} */
    this.chosen = null; // the dots that can be drawn
    /** @type {{ frame: Frame, turn: number, dots: number, width: number, height: number } | null} */
    this.drawn = null; // on the canvas
    this.ratio = 1;
  }

  restore() {
    const frame = this.drawn?.frame;
    this.card = new Card(this.gl);
    [this.growing, this.kept, this.overview] = [this.gl, this.gl, this.gl].map(gathered);
    [this.chosen, this.drawn] = [null, null];
    if (this.cloud) this.place(this.cloud);
    if (this.dots) this.paint(this.dots);
    if (frame) this.draw(frame, { most: Infinity, isMoving: false });
  }

  /** @param {Cloud} cloud */
  place(cloud) {
    const { xs, ys, train, total } = cloud;
    this.cloud = cloud;
    this.order = drawingOrder(train, total);
    this.words = new Uint32Array(total);
    this.looks = new Uint8Array(total);
    this.found = new Uint32Array(total);
    this.places = new Float32Array(2 * total);
    for (let at = 0; at < total; at += 1) {
      const i = this.order[at];
      this.places[2 * at] = xs[i];
      this.places[2 * at + 1] = ys[i];
    }
    this.chosen = null;
    this.turn += 1;
    this.card.place(this.places, this.words);
  }

  /** @param {Dots} dots */
  paint(dots) {
    const { order, words, looks, cloud } = this;
    const { colours, category, look } = dots;
    const train = cloud?.train ?? 0;
    this.dots = dots;
    this.shown = 0;
    let isSameLook = true;
    for (let at = 0; at < order.length; at += 1) {
      const i = order[at];
      const seen = look[i];
      // little end first, as on every machine that has a browser
      words[at] = category[i] | (seen << 16) | (at < train ? 0 : 1 << 24);
      if (seen) this.shown += 1;
      if (looks[at] === seen) continue;
      looks[at] = seen;
      isSameLook = false;
    }
    this.turn += 1;
    if (this.chosen && isSameLook) this.chosen.turn = this.turn;
    this.card.paint(words, colours);
  }

  /**
   * @param {Frame} frame
   * @param {import('./dots.js').Manner} manner
   * @returns {Drawn}
   */
  draw(frame, { most, isMoving }) {
    this.ratio = fit(this.canvas, frame);
    if (!this.cloud) return { drawn: 0, isDone: true };
    if (this.shown <= DIRECT) return this.sample(frame, ALL, isMoving ? most : Infinity, null);
    if (!isMoving && this.isOn(frame)) return this.gather(frame, most);
    return this.sample(frame, MOVING, most, this.stored(frame));
  }

  /**
   * Draws what of a frame can be drawn at once.
   *
   * @param {Frame} frame
   * @param {typeof MOVING} among
   * @param {number} most
   * @param {Gathered | null} kept a picture of a part of it
   * @returns {Drawn}
   */
  sample(frame, among, most, kept) {
    const { card, canvas, turn } = this;
    const { width, height } = canvas;
    const inner = kept?.frame ? areaOf(kept.frame) : null;
    card.aim(null, width, height);
    card.clear();
    if (kept?.frame) card.show(kept.picture, kept.frame, frame);
    if (inner && contains(inner, clipped(areaOf(frame)))) {
      const isDone = kept?.frame ? isSameFrame(kept.frame, frame) : false;
      this.drawn = { frame, turn, dots: Infinity, width, height };
      return { drawn: 0, isDone };
    }
    const chosen = this.choose(frame, among);
    const ranges = sampled(chosen, most);
    card.draw(frame, this.style(frame, inner), ranges);
    const drawn = ranges[0].count + ranges[1].count;
    this.growing.frame = null; // its dots may be chosen no longer
    this.drawn = { frame, turn, dots: kept ? Infinity : drawn, width, height };
    return { drawn, isDone: !kept && drawn === chosen.count };
  }

  /**
   * Draws more dots of a frame that is on the canvas already, as a sample or from another picture.
   *
   * @param {Frame} frame
   * @param {number} most
   * @returns {Drawn}
   */
  gather(frame, most) {
    const { card, growing, turn } = this;
    const { width, height } = this.canvas;
    const stored = this.stored(frame);
    if (stored?.frame && isSameFrame(stored.frame, frame)) return this.sample(frame, MOVING, most, stored);
    const isNew = growing.frame === null || growing.turn !== turn || !isSameFrame(growing.frame, frame);
    const chosen = isNew || !this.chosen ? this.choose(frame, RESTING) : this.chosen;
    card.aim(growing.picture, width, height);
    if (isNew) {
      card.clear();
      [growing.frame, growing.turn, growing.done] = [frame, turn, 0];
    }
    const count = Math.min(most, chosen.count - growing.done);
    card.draw(frame, this.style(frame, null), [{ first: growing.done, count }]);
    growing.done += count;
    const isDone = growing.done === chosen.count;
    if (isDone || growing.done > (this.drawn?.dots ?? 0)) this.showGrowing(frame, chosen);
    if (isDone) this.store();
    return { drawn: count, isDone };
  }

  /** Keeps the picture that has all dots now, in the place of another. */
  store() {
    const { growing, cloud } = this;
    const [x, y] = cloud?.reach ?? [1, 1];
    const place = growing.frame && contains(areaOf(growing.frame), [-x, -y, x, y]) ? 'overview' : 'kept';
    this.growing = { ...this[place], frame: null };
    this[place] = growing;
  }

  /**
   * The picture with all dots of as much of a frame as possible, as sharp as possible; null for none.
   *
   * @param {Frame} frame
   * @returns {Gathered | null}
   */
  stored(frame) {
    const { turn, canvas, kept, overview } = this;
    const usable = [kept, overview].filter(({ picture, frame: drawn, turn: painted }) => {
      if (!drawn || painted !== turn || !isUsable(drawn, frame)) return false;
      return picture.width === canvas.width && picture.height === canvas.height;
    });
    const seen = clipped(areaOf(frame));
    const isWhole = (/** @type {Gathered} */ { frame: drawn }) => drawn !== null && contains(areaOf(drawn), seen);
    return usable.find(isWhole) ?? usable[0] ?? null;
  }

  /**
   * Shows what has been gathered; where test images are still to come, as large a share of them as of all.
   *
   * @param {Frame} frame
   * @param {import('./detail.js').Chosen} chosen
   */
  showGrowing(frame, chosen) {
    const { card, growing, turn } = this;
    const { width, height } = this.canvas;
    card.aim(null, width, height);
    card.clear();
    card.show(growing.picture, frame, frame);
    const [, test] = sampled(chosen, growing.done);
    if (growing.done < chosen.train) card.draw(frame, this.style(frame, null), [test]);
    this.drawn = { frame, turn, dots: growing.done, width, height };
  }

  /**
   * Whether the canvas shows this frame, if only a sample of it.
   *
   * @param {Frame} frame
   */
  isOn(frame) {
    const { drawn, canvas, turn } = this;
    if (!drawn || drawn.turn !== turn || drawn.width !== canvas.width || drawn.height !== canvas.height) return false;
    return isSameFrame(drawn.frame, frame);
  }

  /**
   * The dots to draw from: those that are shown, in what is seen and around it.
   *
   * @param {Frame} frame
   * @param {typeof MOVING} among
   */
  choose(frame, { room, most }) {
    const { chosen, turn, cloud } = this;
    const seen = clipped(areaOf(frame, BORDER));
    if (chosen && chosen.turn === turn && contains(chosen.area, seen) && surface(chosen.area) <= most * surface(seen))
      return chosen;
    const area = clipped(areaOf(frame, BORDER + room * frame.size.width));
    const found = dotsIn(this.places, this.looks, cloud?.train ?? 0, area, this.found);
    this.card.choose(found.places.subarray(0, found.count));
    this.chosen = { ...found, area, turn };
    return this.chosen;
  }

  /**
   * @param {Frame} frame
   * @param {Area | null} without
   * @returns {import('./webgl.js').Style}
   */
  style(frame, without) {
    const { cloud, ratio } = this;
    const { train, test, opacity } = sizes(cloud?.total ?? 0, cloud ? nearness(cloud, frame) : 1);
    return { diameters: [ratio * train, ratio * test], opacities: [PALENESS * opacity, opacity], without };
  }

  destroy() {
    this.canvas.removeEventListener('webglcontextlost', this.lost);
    this.canvas.removeEventListener('webglcontextrestored', this.restored);
    this.gl.getExtension('WEBGL_lose_context')?.loseContext(); // a browser holds few
  }
}
