// @ts-check
// What fingers, a mouse and its wheel do on the map: drag, zoom, pinch, draw an outline, point and click.

/** @typedef {import('./geometry.js').Point} Point */

/**
 * Points are in pixels from the map's corner.
 *
 * @typedef {object} Acts
 * @property {(right: number, down: number) => void} pan
 * @property {(factor: number, point: Point) => void} zoom
 * @property {(point: Point, isTouch: boolean) => void} point the pointer has come here
 * @property {() => void} leave
 * @property {(point: Point, isTouch: boolean) => void} click
 * @property {(stroke: Point[], isDone: boolean) => void} stroke an outline grows; empty if it is given up
 * @property {() => boolean} isLasso whether a drag draws an outline, without the key Shift too
 */

const FAR = 4; // pixels that make a press a drag
const WHEEL = 0.0015; // of a zoom, for a pixel of the wheel
const LINE = 16; // pixels, where a wheel counts lines

export class Gestures {
  /**
   * @param {HTMLElement} map
   * @param {Acts} acts
   */
  constructor(map, acts) {
    this.map = map;
    this.acts = acts;
    /** @type {Map<number, Point>} */
    this.down = new Map(); // pointers, where they were last
    /** @type {Point | null} */
    this.start = null; // of a press that may still be a click
    /** @type {Point[] | null} */
    this.outline = null;
    map.addEventListener('pointerdown', (event) => this.press(event));
    map.addEventListener('pointermove', (event) => this.move(event));
    map.addEventListener('pointerup', (event) => this.release(event));
    map.addEventListener('pointercancel', (event) => this.cancel(event));
    map.addEventListener('pointerleave', () => this.acts.leave());
    map.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
  }

  /**
   * @param {MouseEvent} event
   * @returns {Point}
   */
  at(event) {
    const box = this.map.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button !== 0) return;
    const point = this.at(event);
    this.down.set(event.pointerId, point);
    this.start = this.down.size === 1 ? point : null;
    if (this.down.size > 1) this.giveUp();
    else if (event.shiftKey || this.acts.isLasso()) this.outline = [point];
  }

  /** @param {PointerEvent} event */
  move(event) {
    const point = this.at(event);
    const before = this.down.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== 'touch') this.acts.point(point, false);
      return;
    }
    if (this.start && apart(this.start, point) > FAR) {
      this.start = null;
      this.map.setPointerCapture(event.pointerId); // now, as a capture takes clicks from what is below
    }
    if (this.start) return;
    this.acts.leave();
    const other = [...this.down].find(([id]) => id !== event.pointerId)?.[1];
    this.down.set(event.pointerId, point);
    if (this.outline) {
      this.outline.push(point);
      this.acts.stroke(this.outline, false);
    } else if (other) this.pinch(before, point, other);
    else this.acts.pan(point[0] - before[0], point[1] - before[1]);
  }

  /**
   * @param {Point} before
   * @param {Point} after where a finger has gone
   * @param {Point} other where the other one is
   */
  pinch(before, after, other) {
    this.acts.pan((after[0] - before[0]) / 2, (after[1] - before[1]) / 2);
    const middle = /** @type {Point} */ ([(after[0] + other[0]) / 2, (after[1] + other[1]) / 2]);
    this.acts.zoom(apart(before, other) / Math.max(1, apart(after, other)), middle);
  }

  /** @param {PointerEvent} event */
  release(event) {
    if (!this.down.delete(event.pointerId)) return;
    const stroke = this.outline;
    this.outline = null;
    if (this.start) this.acts.click(this.start, event.pointerType === 'touch');
    else if (stroke) this.acts.stroke(stroke, true);
    this.start = null;
  }

  /** @param {PointerEvent} event */
  cancel(event) {
    this.down.delete(event.pointerId);
    this.start = null;
    this.giveUp();
  }

  /** @returns {boolean} whether an outline was being drawn */
  giveUp() {
    const isDrawing = this.outline !== null;
    this.outline = null;
    if (isDrawing) this.acts.stroke([], false);
    return isDrawing;
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1);
    this.acts.zoom(Math.exp(Math.max(-500, Math.min(500, pixels)) * WHEEL), this.at(event));
  }
}

/**
 * @param {Point} one
 * @param {Point} other
 */
const apart = (one, other) => Math.hypot(one[0] - other[0], one[1] - other[1]);
